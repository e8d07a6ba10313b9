#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "baton/v1/doctor.grpc.pb.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/transfer/transport.h"
#include "common/worker/doctor/probe_region.h"

namespace baton::worker {

// The prefill worker's side of a probe: puts into a decode worker's probe region the way a
// hand-over does, from registered memory, and takes the time. Blocks; one probe at a time.
// Thread-safe.
class PathProber {
 public:
  static constexpr int kRounds = 8;
  static constexpr int kRoundTrips = 21;
  static constexpr size_t kPieceBytes = 256 << 10;
  static constexpr absl::Duration kAnswerWithin = absl::Seconds(2);  // each call
  static constexpr absl::Duration kRoundWithin = absl::Seconds(3);

  // `source` is this worker's own region. All outlive the prober.
  PathProber(std::string worker_id, transfer::Transport& transport, ProbeRegion& source,
             const Clock& clock);

  // `cancelled` is asked between the steps. RESOURCE_EXHAUSTED while another probe runs.
  absl::StatusOr<v1::PathReport> Probe(v1::Doctor::StubInterface& decode,
                                       const std::function<bool()>& cancelled);

 private:
  absl::StatusOr<double> RoundTripMs(v1::Doctor::StubInterface& decode);
  absl::StatusOr<double> RoundMs(transfer::PeerHandle peer, const v1::ProbeRegionLoan& loan,
                                 size_t bytes);
  absl::Status Measure(const v1::ProbeRegionLoan& loan, size_t bytes,
                       const std::function<bool()>& cancelled, v1::PathReport& report);

  const std::string worker_id_;
  transfer::Transport& transport_;
  ProbeRegion& source_;
  const Clock& clock_;
  absl::Mutex probing_;
};

}  // namespace baton::worker
