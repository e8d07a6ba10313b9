#include "services/prefill_worker/prefill_worker.h"

#include "common/base/check.h"
#include "common/rpc/convert.h"

namespace baton::prefill_worker {

PrefillWorker::PrefillWorker(worker::Runtime& runtime, bool checksums, const Clock& clock)
    : runtime_(runtime),
      sender_(
          checksums, runtime.pool(), runtime.transport(),
          [&runtime](engine::Command command) {
            // Everything the sender posts is about accepted work and always taken.
            CHECK_OK(runtime.engine().Post(std::move(command)));
          },
          clock) {}

void PrefillWorker::OnStep(std::vector<engine::SequenceOutput>) {
  CHECK(false, "a prefill worker generates no sequences");
}

void PrefillWorker::OnPrefillNeeded(engine::PrefillNeeded) {
  CHECK(false, "a prefill worker asks nobody for prompts");
}

void PrefillWorker::OnKvEvents(engine::KvEvents events) {
  if (links_ != nullptr) links_->SendKvEvents(events);
}

worker::HandoverCounters PrefillWorker::handover_counters() const {
  const transfer::Transport::Counters puts = runtime_.transport().counters();
  const handover::Sender::Counters handovers = sender_.counters();
  return {.bytes = puts.bytes_put,
          .seconds = puts.busy_seconds,
          .completed = handovers.completed,
          .failed = handovers.failed};
}

void PrefillWorker::OnLoad(const engine::LoadReport& load) {
  if (links_ == nullptr) return;
  v1::Load report = rpc::ToProto(load);
  const worker::HandoverCounters counters = handover_counters();
  report.set_kv_bytes(counters.bytes);
  report.set_kv_busy_seconds(counters.seconds);
  report.set_handovers_failed(counters.failed);
  links_->SendLoad(report);
}

}  // namespace baton::prefill_worker
