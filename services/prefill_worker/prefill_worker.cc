#include "services/prefill_worker/prefill_worker.h"

#include "common/base/check.h"
#include "common/rpc/convert.h"

namespace baton::prefill_worker {
namespace {

v1::PrefillFinished FinishedOf(const handover::SendResult& result) {
  v1::PrefillFinished finished;
  *finished.mutable_first() = rpc::ToProto(result.first);
  for (const std::vector<uint64_t>& block : result.checksums) {
    finished.add_checksums()->mutable_layers()->Add(block.begin(), block.end());
  }
  finished.set_cached_tokens(result.times.cached_tokens);
  finished.set_queued_ms(absl::ToDoubleMilliseconds(result.times.queued));
  finished.set_compute_ms(absl::ToDoubleMilliseconds(result.compute));
  finished.set_exposed_ms(absl::ToDoubleMilliseconds(result.exposed));
  finished.set_bytes(result.bytes);
  return finished;
}

}  // namespace

PrefillWorker::PrefillWorker(worker::Footing footing, bool checksums, const Clock& clock)
    : footing_(std::move(footing)),
      sender_(
          checksums, footing_.pool, *footing_.transport,
          [this](engine::Command command) {
            // Everything the sender posts is about accepted work and always taken.
            CHECK_OK(footing_.post(std::move(command)));
          },
          clock) {}

absl::StatusOr<uint64_t> PrefillWorker::Begin(const v1::PrefillRequest& request, Done done) {
  RETURN_IF_ERROR(Check(request));
  ASSIGN_OR_RETURN(handover::Destination destination,
                   handover::ReadDestination(request, footing_.pool));
  // Several callers may name their epochs alike; the engine and the sender need one name of our
  // own.
  const uint64_t handover = ++last_handover_;
  RETURN_IF_ERROR(book_.Begin(request.caller(), request.epoch(), handover));
  absl::Status begun = BeginAs(handover, request, std::move(destination), std::move(done));
  if (begun.ok()) return handover;
  book_.End(request.caller(), request.epoch());
  return begun;
}

absl::Status PrefillWorker::Check(const v1::PrefillRequest& request) const {
  if (request.fingerprint() != footing_.fingerprint) {
    return FailedPrecondition("fingerprint is {}, but this prefill worker's is {}",
                              request.fingerprint(), footing_.fingerprint);
  }
  if (request.sequence().prompt().empty()) {
    return InvalidArgument("sequence.prompt has no tokens");
  }
  for (int32_t token : request.sequence().prompt()) {
    if (token < 0 || token >= footing_.vocab) {
      return InvalidArgument("sequence.prompt names token {}, but the vocabulary has ids 0 to {}",
                             token, footing_.vocab - 1);
    }
  }
  return absl::OkStatus();
}

absl::Status PrefillWorker::BeginAs(uint64_t handover, const v1::PrefillRequest& request,
                                    handover::Destination destination, Done done) {
  SequenceSpec spec = rpc::FromProto(request.sequence());
  // Two attempts at one request may overlap here while the first is still stopping.
  spec.id.request = RequestId(fmt::format("{}#{}", spec.id.request.value(), handover));
  auto over = [this, caller = request.caller(), epoch = request.epoch(),
               done = std::move(done)](absl::StatusOr<handover::SendResult> result) {
    book_.End(caller, epoch);
    done(result.ok() ? absl::StatusOr<v1::PrefillFinished>(FinishedOf(*result)) : result.status());
  };
  RETURN_IF_ERROR(sender_.Begin(spec.id, handover, std::move(destination), std::move(over)));
  absl::Status posted = footing_.post(engine::SubmitPrefill{
      .spec = std::move(spec), .epoch = handover, .first_block = request.first_block()});
  if (!posted.ok()) sender_.Abandon(handover);
  return posted;
}

void PrefillWorker::Stop(uint64_t handover, std::string_view why) {
  sender_.Stop(handover, absl::CancelledError(std::string(why)));
}

void PrefillWorker::Fence(const v1::FenceRequest& request, std::function<void()> over) {
  const std::optional<uint64_t> running =
      book_.Fence(request.caller(), request.epoch(), std::move(over));
  if (running) Stop(*running, "fenced by the caller");
}

void PrefillWorker::OnStep(std::vector<engine::SequenceOutput>) {
  CHECK(false, "a prefill worker generates no sequences");
}

void PrefillWorker::OnPrefillNeeded(engine::PrefillNeeded) {
  CHECK(false, "a prefill worker asks nobody for prompts");
}

void PrefillWorker::OnKvEvents(engine::KvEvents events) {
  if (worker::RouterLinks* links = links_) links->SendKvEvents(events);
}

worker::HandoverCounters PrefillWorker::handover_counters() const {
  const transfer::Transport::Counters puts = footing_.transport->counters();
  const handover::Sender::Counters handovers = sender_.counters();
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
