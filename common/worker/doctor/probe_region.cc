#include "common/worker/doctor/probe_region.h"

#include "common/handover/destination.h"
#include "kernels/checksum.h"

namespace baton::worker {

absl::StatusOr<std::unique_ptr<ProbeRegion>> ProbeRegion::Allocate(transfer::Transport& transport,
                                                                   const Clock& clock) {
  ASSIGN_OR_RETURN(transfer::Region region, transport.AllocateRegion(kBytes));
  return std::unique_ptr<ProbeRegion>(new ProbeRegion(transport, std::move(region), clock));
}

ProbeRegion::ProbeRegion(transfer::Transport& transport, transfer::Region region,
                         const Clock& clock)
    : transport_(transport), region_(std::move(region)), clock_(clock) {}

absl::StatusOr<v1::ProbeRegionLoan> ProbeRegion::Lend(const std::string& borrower) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  if (lent_ && now < until_) {
    return ResourceExhausted("{} probes this worker already; try again in {} s", borrower_,
                             absl::ToInt64Seconds(absl::Ceil(until_ - now, absl::Seconds(1))));
  }
  lent_ = true;
  borrower_ = borrower;
  until_ = now + kLease;
  v1::ProbeRegionLoan loan;
  loan.set_loan(++last_loan_);
  *loan.mutable_address() = handover::ToProto(transport_.local_address());
  loan.set_remote_key(region_.remote_key);
  loan.set_base_address(region_.address);
  loan.set_bytes(region_.bytes);
  loan.set_lease_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(kLease)));
  return loan;
}

absl::StatusOr<bool> ProbeRegion::Settle(const v1::SettleProbeRegionRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (!lent_ || request.loan() != last_loan_ || clock_.Monotonic() >= until_) {
    return NotFound("loan {} is over", request.loan());
  }
  if (request.bytes() > region_.bytes) {
    return InvalidArgument("bytes is {}, but the region has {}", request.bytes(), region_.bytes);
  }
  lent_ = false;
  return ProbeChecksum(memory().first(request.bytes())) == request.checksum();
}

uint64_t ProbeChecksum(std::span<const std::byte> bytes) {
  return kernels::Checksum(bytes.data(), bytes.size());
}

}  // namespace baton::worker
