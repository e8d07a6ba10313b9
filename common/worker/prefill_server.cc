#include "common/worker/prefill_server.h"

#include "common/base/check.h"
#include "common/rpc/convert.h"

namespace baton::worker {
namespace {

// A lost one, and one that is late, are borne.
constexpr int kBeatsPerLease = 4;

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
  finished.set_first_put_ms(absl::ToDoubleMilliseconds(result.first_put));
  finished.set_last_put_ms(absl::ToDoubleMilliseconds(result.last_put));
  finished.set_wire_ms(absl::ToDoubleMilliseconds(result.wire));
  finished.set_puts(result.puts);
  finished.set_chunks(result.times.prefill_chunks);
  return finished;
}

}  // namespace

PrefillServer::PrefillServer(Footing footing, bool checksums, const Clock& clock)
    : footing_(std::move(footing)),
      clock_(clock),
      sender_(
          checksums, footing_.pool, *footing_.transport,
          [this](engine::Command command) {
            // Everything the sender posts is about accepted work and always taken.
            CHECK_OK(footing_.post(std::move(command)));
          },
          clock) {}

absl::StatusOr<uint64_t> PrefillServer::Begin(const v1::PrefillRequest& request, Done done,
                                              Alive alive) {
  RETURN_IF_ERROR(Check(request));
  ASSIGN_OR_RETURN(handover::Destination destination,
                   handover::ReadDestination(request, footing_.pool));
  // Several callers may name their epochs alike; the engine and the sender need one name of our
  // own.
  const uint64_t handover = ++last_handover_;
  RETURN_IF_ERROR(book_.Begin(request.caller(), request.epoch(), handover));
  if (alive != nullptr && request.lease_ms() > 0) {
    const absl::Duration every = absl::Milliseconds(request.lease_ms()) / kBeatsPerLease;
    absl::MutexLock lock(&mutex_);
    leases_[handover] = {every, clock_.Monotonic() + every, std::move(alive)};
  }
  absl::Status begun = BeginAs(handover, request, std::move(destination), std::move(done));
  if (begun.ok()) return handover;
  EndLease(handover);
  book_.End(request.caller(), request.epoch());
  return begun;
}

absl::Status PrefillServer::Check(const v1::PrefillRequest& request) const {
  if (!request.worker_id().empty() && request.worker_id() != footing_.worker_id) {
    return FailedPrecondition("worker_id is {}, but this is {}", request.worker_id(),
                              footing_.worker_id);
  }
  if (request.fingerprint() != footing_.fingerprint) {
    return FailedPrecondition("fingerprint is {}, but this worker's is {}", request.fingerprint(),
                              footing_.fingerprint);
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

absl::Status PrefillServer::BeginAs(uint64_t handover, const v1::PrefillRequest& request,
                                    handover::Destination destination, Done done) {
  SequenceSpec spec = rpc::FromProto(request.sequence());
  // Two attempts at one request may overlap here while the first is still stopping.
  spec.id.request = RequestId(fmt::format("{}#{}", spec.id.request.value(), handover));
  auto over = [this, handover, caller = request.caller(), epoch = request.epoch(),
               done = std::move(done)](absl::StatusOr<handover::SendResult> result) {
    EndLease(handover);
    book_.End(caller, epoch);
    done(result.ok() ? absl::StatusOr<v1::PrefillFinished>(FinishedOf(*result)) : result.status());
  };
  RETURN_IF_ERROR(sender_.Begin(spec.id, handover, std::move(destination), std::move(over)));
  absl::Status posted = footing_.post(engine::SubmitPrefill{
      .spec = std::move(spec), .epoch = handover, .first_block = request.first_block()});
  if (!posted.ok()) sender_.Abandon(handover);
  return posted;
}

void PrefillServer::Stop(uint64_t handover, std::string_view why) {
  sender_.Stop(handover, absl::CancelledError(std::string(why)));
}

void PrefillServer::Fence(const v1::FenceRequest& request, std::function<void()> over) {
  const std::optional<uint64_t> running =
      book_.Fence(request.caller(), request.epoch(), std::move(over));
  if (running) Stop(*running, "fenced by the caller");
}

void PrefillServer::Tick(absl::Duration now) {
  if (stalled_) return;
  absl::MutexLock lock(&mutex_);
  for (auto& [handover, lease] : leases_) {
    if (now < lease.next) continue;
    lease.next = now + lease.every;
    lease.alive();
  }
}

void PrefillServer::EndLease(uint64_t handover) {
  absl::MutexLock lock(&mutex_);
  leases_.erase(handover);
}

}  // namespace baton::worker
