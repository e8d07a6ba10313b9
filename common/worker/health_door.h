#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/concurrency/ticker.h"
#include "common/config/address.h"
#include "common/rpc/server.h"

namespace baton::worker {

// As grpc.health.v1 is asked for it: does the worker make progress? Also true while draining.
inline constexpr char kLiveness[] = "liveness";

// Where a worker is asked how it is, from before its weights are loaded until it ends:
// grpc.health.v1 at an address of its own, plain, for a kubelet that has no certificate. Service ""
// is whether it is given work, "liveness" whether it makes progress: while it starts, whether
// something has been loaded within `stall`, however long all of it takes. Thread-safe.
class HealthDoor {
 public:
  // The clock outlives it. UNAVAILABLE names an address that cannot be bound.
  static absl::StatusOr<std::unique_ptr<HealthDoor>> Open(const config::Address& listen,
                                                          absl::Duration stall, const Clock& clock);
  // Whoever still asks is cut off.
  ~HealthDoor();

  // The start has come further.
  void NoteProgress() { progress_ns_ = absl::ToInt64Nanoseconds(clock_.Monotonic()); }
  // The start is over: from now on only Set() says how the worker is.
  void EndStart() { watch_.Stop(); }

  void Set(const char* service, bool serving);
  const std::string& address() const { return server_.address; }

 private:
  HealthDoor(rpc::Server server, absl::Duration stall, const Clock& clock);
  void Look();

  const absl::Duration stall_;
  const Clock& clock_;
  rpc::Server server_;
  std::atomic<int64_t> progress_ns_;
  bool stalled_ = false;  // the watch's thread alone
  Ticker watch_;          // last: it uses all of the above
};

}  // namespace baton::worker
