#include "services/prefill_worker/prefill_worker.h"

#include "common/base/check.h"

namespace baton::prefill_worker {

// It generates nothing but the canaries of its own stall watch.
void PrefillWorker::OnStep(std::vector<engine::SequenceOutput>) {}

void PrefillWorker::OnPrefillNeeded(engine::PrefillNeeded) {
  CHECK(false, "a prefill worker asks nobody for prompts");
}

void PrefillWorker::OnKvEvents(engine::KvEvents events) {
  if (worker::RouterLinks* links = links_) links->SendKvEvents(events);
}

worker::HandoverCounters PrefillWorker::handover_counters() const {
  const transfer::Transport::Counters puts = transport_.counters();
  const handover::Sender::Counters handovers = server_.counters();
  return {.bytes = puts.bytes_put,
          .seconds = puts.busy_seconds,
          .completed = handovers.completed,
          .failed = handovers.failed};
}

void PrefillWorker::OnLoad(const engine::LoadReport& load) {
  if (worker::RouterLinks* links = links_) {
    links->SendLoad(worker::ReportOf(load, handover_counters()));
  }
}

}  // namespace baton::prefill_worker
