#include "services/decode_worker/decode_worker.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/rpc/convert.h"
#include "common/telemetry/logging.h"

namespace baton::decode_worker {

DecodeWorker::DecodeWorker(worker::Footing footing, handover::ReceiverOptions receiver,
                           handover::PrefillPeers& peers, const Clock& clock)
    : footing_(std::move(footing)),
      receiver_(
          std::move(receiver), footing_.pool, *footing_.transport, peers,
          [this](engine::Command command) { PostAboutWork(std::move(command)); }, clock),
      server_(footing_, receiver_.options().checksums, clock) {}

void DecodeWorker::Submit(RouterSession& session, const v1::SubmitSequences& submit) {
  if (submit.sequences().empty()) return;
  const RequestId request(submit.sequences(0).request_id());
  receiver_.SetTargets(request, {submit.prefill().begin(), submit.prefill().end()});
  std::optional<SequenceId> first;
  const absl::Duration local_wait_max = submit.has_local_wait_max_ms()
                                            ? absl::Milliseconds(submit.local_wait_max_ms())
                                            : -absl::InfiniteDuration();
  for (const v1::Sequence& sequence : submit.sequences()) {
    SequenceSpec spec = rpc::FromProto(sequence);
    const SequenceId id = spec.id;
    // Siblings share the first one's prompt through the prefix cache; what each has said is its
    // own.
    const bool own = !first || sequence.resumed_tokens() > 0;
    const bool remote = own && !submit.prefill().empty();
    absl::Status status = Admit(session, {.spec = std::move(spec),
                                          .remote_prefill = remote,
                                          .local_wait_max = local_wait_max,
                                          .after = first});
    if (!status.ok()) {
      session.Add(DeltaOf({.id = id, .finish = FinishReason::kError, .status = status}));
      session.Flush();
    } else if (!first) {
      first = id;
    }
  }
  absl::MutexLock lock(&mutex_);
  if (!choices_left_.contains(request)) receiver_.ForgetRequest(request);
}

absl::Status DecodeWorker::Admit(RouterSession& session, engine::Submit submit) {
  RETURN_IF_ERROR(Check(submit.spec));
  const SequenceId id = submit.spec.id;
  {
    absl::MutexLock lock(&mutex_);
    if (!sequences_.emplace(id, Told{.session = &session}).second) {
      return InvalidArgument("sequence {}/{} runs here already", id.request.value(), id.choice);
    }
    ++choices_left_[id.request];
  }
  absl::Status status = footing_.post(std::move(submit));
  if (!status.ok()) {
    absl::MutexLock lock(&mutex_);
    Forget(id);
  }
  return status;
}

absl::Status DecodeWorker::Check(const SequenceSpec& spec) const {
  const int32_t vocab = footing_.vocab;
  if (spec.prompt.empty()) return InvalidArgument("prompt has no tokens");
  for (int32_t token : spec.prompt) {
    if (token < 0 || token >= vocab) {
      return InvalidArgument("prompt names token {}, but the vocabulary has ids 0 to {}", token,
                             vocab - 1);
    }
  }
  if (!spec.sampling.max_tokens) return InvalidArgument("max_tokens must be resolved");
  if (!spec.sampling.seed) return InvalidArgument("seed must be resolved");
  if (spec.resumed_tokens < 0 || spec.resumed_tokens >= static_cast<int32_t>(spec.prompt.size())) {
    return InvalidArgument("resumed_tokens is {} of a prompt of {}", spec.resumed_tokens,
                           spec.prompt.size());
  }
  return spec.sampling.Validate(vocab);
}

void DecodeWorker::Cancel(RouterSession& session, const v1::CancelSequence& cancel) {
  const RequestId request(cancel.request_id());
  std::vector<SequenceId> ids;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, told] : sequences_) {
      if (told.session != &session || id.request != request) continue;
      if (!cancel.has_choice() || cancel.choice() == id.choice) ids.push_back(id);
    }
  }
  for (SequenceId& id : ids) PostAboutWork(engine::Cancel{std::move(id)});
}

void DecodeWorker::Detach(RouterSession& session) {
  --sessions_;
  std::vector<SequenceId> orphans;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [id, told] : sequences_) {
      if (told.session != &session) continue;
      told.session = nullptr;
      orphans.push_back(id);
    }
  }
  if (!orphans.empty()) {
    telemetry::LogWarning("decode_worker", "router lost, cancelling its sequences",
                          {{"peer", session.peer()}, {"sequences", orphans.size()}});
  }
  for (SequenceId& id : orphans) PostAboutWork(engine::Cancel{std::move(id)});
}

void DecodeWorker::CutOff(const absl::Status& why) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, told] : sequences_) {
    if (told.session != nullptr) told.session->Close(why);
  }
}

void DecodeWorker::OnStep(std::vector<engine::SequenceOutput> outputs) {
  absl::MutexLock lock(&mutex_);
  std::vector<RouterSession*> touched;  // few
  for (const engine::SequenceOutput& output : outputs) {
    auto found = sequences_.find(output.id);
    if (found == sequences_.end()) continue;
    Told& told = found->second;
    if (RouterSession* session = told.session; session != nullptr) {
      v1::SequenceDelta delta = DeltaOf(output);
      const bool first = !output.tokens.empty() && !std::exchange(told.begun, true);
      if (first || output.finish != FinishReason::kNone) AddTimes(output, delta);
      session->Add(std::move(delta));
      if (std::find(touched.begin(), touched.end(), session) == touched.end()) {
        touched.push_back(session);
      }
    }
    if (output.finish != FinishReason::kNone) {
      receiver_.OnSequenceEnded(output.id);
      Forget(output.id);
    }
  }
  for (RouterSession* session : touched) session->Flush();
}

v1::SequenceDelta DecodeWorker::DeltaOf(const engine::SequenceOutput& output) {
  v1::SequenceDelta delta;
  delta.set_request_id(output.id.request.value());
  delta.set_choice(output.id.choice);
  for (const GeneratedToken& token : output.prompt) *delta.add_prompt() = rpc::ToProto(token);
  for (const GeneratedToken& token : output.tokens) *delta.add_tokens() = rpc::ToProto(token);
  delta.set_finish(rpc::ToProto(output.finish));
  if (!output.status.ok()) {
    delta.set_status_code(static_cast<int>(output.status.code()));
    delta.set_status_message(MessageOf(output.status));
  }
  return delta;
}

void DecodeWorker::AddTimes(const engine::SequenceOutput& output, v1::SequenceDelta& delta) {
  v1::SequenceTimes& times = *delta.mutable_times();
  times = rpc::ToProto(output.times);
  for (const handover::Receiver::Failure& failure : receiver_.TakeFailures(output.id)) {
    v1::HandoverFailure& told = *times.add_failures();
    told.set_prefill_worker(failure.prefill_worker);
    told.set_status_code(static_cast<int>(failure.status.code()));
    told.set_message(MessageOf(failure.status));
  }
  if (!output.times.remote_prefill) return;
  handover::Delivery delivery = receiver_.DeliveryOf(output.id);
  times.set_prefill_worker(delivery.prefill_worker);
  times.set_kv_bytes(delivery.bytes);
  times.set_kv_exposed_ms(absl::ToDoubleMilliseconds(delivery.exposed));
  *times.mutable_handover() = std::move(delivery.times);
}

void DecodeWorker::Forget(const SequenceId& id) {
  sequences_.erase(id);
  auto left = choices_left_.find(id.request);
  if (left == choices_left_.end() || --left->second > 0) return;
  choices_left_.erase(left);
  receiver_.ForgetRequest(id.request);
}

void DecodeWorker::OnPrefillNeeded(engine::PrefillNeeded needed) {
  receiver_.OnPrefillNeeded(std::move(needed));
}

void DecodeWorker::OnKvEvents(engine::KvEvents events) {
  if (worker::RouterLinks* links = links_) links->SendKvEvents(events);
}

worker::HandoverCounters DecodeWorker::handover_counters() const {
  const handover::Receiver::Counters counters = receiver_.counters();
  return {.bytes = counters.bytes,
          .seconds = counters.seconds,
          .completed = counters.completed,
          .failed = counters.failed,
          .checksum_mismatches = counters.checksum_mismatches};
}

void DecodeWorker::OnLoad(const engine::LoadReport& load) {
  if (worker::RouterLinks* links = links_) {
    links->SendLoad(worker::ReportOf(load, handover_counters()));
  }
}

}  // namespace baton::decode_worker
