#pragma once

#include <string_view>

#include "baton/v1/cluster.pb.h"
#include "baton/v1/device.pb.h"
#include "baton/v1/sampling.pb.h"
#include "baton/v1/worker.pb.h"
#include "common/engine/observer.h"
#include "common/request/generated_token.h"
#include "common/request/sampling_params.h"
#include "common/request/sequence_spec.h"

// Proto to domain and back. Absent fields take the domain's defaults. Nothing is validated here:
// SamplingParams::Validate() is.
namespace baton::rpc {

SamplingParams FromProto(const v1::SamplingParams& proto);
v1::SamplingParams ToProto(const SamplingParams& params);

GeneratedToken FromProto(const v1::GeneratedToken& proto);
v1::GeneratedToken ToProto(const GeneratedToken& token);

SequenceSpec FromProto(const v1::Sequence& proto);
v1::Sequence ToProto(const SequenceSpec& spec);

FinishReason FromProto(v1::FinishReason proto);
v1::FinishReason ToProto(FinishReason reason);

v1::Load ToProto(const engine::LoadReport& load);
engine::LoadReport FromProto(const v1::Load& proto);

v1::KvEvents ToProto(const engine::KvEvents& events);
engine::KvEvents FromProto(const v1::KvEvents& proto);

// "host pool", "device pool", "host mirror"; empty: not told.
std::string_view NameOf(v1::KvAccess access);

v1::SequenceTimes ToProto(const engine::SequenceTimes& times);

}  // namespace baton::rpc
