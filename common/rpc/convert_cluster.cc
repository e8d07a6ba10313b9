#include "common/rpc/convert.h"

namespace baton::rpc {
namespace {

v1::StepFit FitToProto(const engine::StepFit& fit) {
  v1::StepFit proto;
  proto.set_base_ms(fit.base_ms);
  proto.set_per_prefill_token_ms(fit.per_prefill_token_ms);
  proto.set_per_decode_ms(fit.per_decode_ms);
  proto.set_per_context_token_ms(fit.per_context_token_ms);
  proto.set_residual_ms(fit.residual_ms);
  proto.set_samples(fit.samples);
  return proto;
}

engine::StepFit FitFromProto(const v1::StepFit& proto) {
  return {.base_ms = proto.base_ms(),
          .per_prefill_token_ms = proto.per_prefill_token_ms(),
          .per_decode_ms = proto.per_decode_ms(),
          .per_context_token_ms = proto.per_context_token_ms(),
          .residual_ms = proto.residual_ms(),
          .samples = proto.samples()};
}

v1::StepWork WorkToProto(const engine::StepWork& work) {
  v1::StepWork proto;
  proto.set_steps(work.steps);
  proto.set_tokens(work.tokens);
  proto.set_context_tokens(work.context_tokens);
  proto.set_ms(work.ms);
  return proto;
}

engine::StepWork WorkFromProto(const v1::StepWork& proto) {
  return {.steps = proto.steps(),
          .tokens = proto.tokens(),
          .context_tokens = proto.context_tokens(),
          .ms = proto.ms()};
}

void SetHash(const kv::BlockHash& hash, v1::BlockHash* proto) {
  proto->set_high(hash.high);
  proto->set_low(hash.low);
}

}  // namespace

v1::Load ToProto(const engine::LoadReport& load) {
  v1::Load proto;
  proto.set_waiting(load.waiting);
  proto.set_running(load.running);
  proto.set_waiting_tokens(load.waiting_tokens);
  proto.set_blocks_total(load.blocks_total);
  proto.set_blocks_free(load.blocks_free);
  proto.set_blocks_cached(load.blocks_cached);
  proto.set_blocks_active(load.blocks_active);
  proto.set_blocks_quarantined(load.blocks_quarantined);
  proto.set_steps(load.steps);
  proto.set_preemptions(load.preemptions);
  proto.set_prompt_tokens(load.prompt_tokens);
  proto.set_cached_tokens(load.cached_tokens);
  proto.set_output_tokens(load.output_tokens);
  *proto.mutable_fit() = FitToProto(load.fit);
  *proto.mutable_prefill_work() = WorkToProto(load.prefill_work);
  *proto.mutable_decode_work() = WorkToProto(load.decode_work);
  return proto;
}

engine::LoadReport FromProto(const v1::Load& proto) {
  engine::LoadReport load;
  load.waiting = proto.waiting();
  load.running = proto.running();
  load.waiting_tokens = proto.waiting_tokens();
  load.blocks_total = proto.blocks_total();
  load.blocks_free = proto.blocks_free();
  load.blocks_cached = proto.blocks_cached();
  load.blocks_active = proto.blocks_active();
  load.blocks_quarantined = proto.blocks_quarantined();
  load.steps = proto.steps();
  load.preemptions = proto.preemptions();
  load.prompt_tokens = proto.prompt_tokens();
  load.cached_tokens = proto.cached_tokens();
  load.output_tokens = proto.output_tokens();
  load.fit = FitFromProto(proto.fit());
  load.prefill_work = WorkFromProto(proto.prefill_work());
  load.decode_work = WorkFromProto(proto.decode_work());
  return load;
}

v1::KvEvents ToProto(const engine::KvEvents& events) {
  v1::KvEvents proto;
  proto.set_number(events.number);
  proto.set_snapshot(events.snapshot);
  for (const auto& stored : events.stored) {
    auto* entry = proto.add_stored();
    SetHash(stored.hash, entry->mutable_hash());
    if (stored.parent != kv::BlockHash{}) SetHash(stored.parent, entry->mutable_parent());
  }
  for (const auto& hash : events.removed) SetHash(hash, proto.add_removed());
  return proto;
}

engine::KvEvents FromProto(const v1::KvEvents& proto) {
  engine::KvEvents events{.number = proto.number(), .snapshot = proto.snapshot()};
  events.stored.reserve(proto.stored_size());
  for (const auto& entry : proto.stored()) {
    events.stored.push_back(
        {{entry.hash().high(), entry.hash().low()}, {entry.parent().high(), entry.parent().low()}});
  }
  for (const auto& hash : proto.removed()) events.removed.push_back({hash.high(), hash.low()});
  return events;
}

v1::SequenceTimes ToProto(const engine::SequenceTimes& times) {
  v1::SequenceTimes proto;
  proto.set_queued_ms(absl::ToDoubleMilliseconds(times.queued));
  proto.set_prefill_ms(absl::ToDoubleMilliseconds(times.prefill));
  proto.set_prompt_tokens(times.prompt_tokens);
  proto.set_cached_tokens(times.cached_tokens);
  proto.set_preemptions(times.preemptions);
  proto.set_prefill_chunks(times.prefill_chunks);
  return proto;
}

std::string_view NameOf(v1::KvAccess access) {
  switch (access) {
    case v1::KV_ACCESS_HOST_POOL:
      return "host pool";
    case v1::KV_ACCESS_DEVICE_POOL:
      return "device pool";
    case v1::KV_ACCESS_HOST_MIRROR:
      return "host mirror";
    default:
      return "";
  }
}

}  // namespace baton::rpc
