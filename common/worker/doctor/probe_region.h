#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/doctor.pb.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/transfer/transport.h"

namespace baton::worker {

// Memory that is there to be probed: peers put into it, or it is what is put. Lent to one borrower
// at a time, for a while. A write that comes after its loan is over meets no KV: at worst the next
// probe's bytes, which then do not compare. Thread-safe.
class ProbeRegion {
 public:
  static constexpr size_t kBytes = 4 << 20;
  static constexpr absl::Duration kLease = absl::Seconds(10);

  // At start-up, as every region.
  static absl::StatusOr<std::unique_ptr<ProbeRegion>> Allocate(transfer::Transport& transport,
                                                               const Clock& clock);

  // RESOURCE_EXHAUSTED, naming the borrower, while it is lent out.
  absl::StatusOr<v1::ProbeRegionLoan> Lend(const std::string& borrower);
  // Ends the loan: whether the first `bytes` have this checksum (XXH3). NOT_FOUND when the loan is
  // over, INVALID_ARGUMENT when it is not so long.
  absl::StatusOr<bool> Settle(const v1::SettleProbeRegionRequest& request);

  std::span<std::byte> memory() const { return {region_.data, region_.bytes}; }

 private:
  ProbeRegion(transfer::Transport& transport, transfer::Region region, const Clock& clock);

  transfer::Transport& transport_;
  const transfer::Region region_;
  const Clock& clock_;
  absl::Mutex mutex_;
  uint64_t last_loan_ ABSL_GUARDED_BY(mutex_) = 0;
  bool lent_ ABSL_GUARDED_BY(mutex_) = false;
  std::string borrower_ ABSL_GUARDED_BY(mutex_);
  absl::Duration until_ ABSL_GUARDED_BY(mutex_);
};

// As the two sides of a probe compare it.
uint64_t ProbeChecksum(std::span<const std::byte> bytes);

}  // namespace baton::worker
