#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/config/router_options.h"
#include "services/router/intake/served_models.h"

namespace baton::router {

// The whole router: both doors, membership, placement, dispatch. One thread calls it: main()'s, or
// a test's.
class Router {
 public:
  // Listens on both doors. Errors name the option or the address.
  static absl::StatusOr<std::unique_ptr<Router>> Start(const config::RouterOptions& options,
                                                       ServedModels models, const Clock& clock);
  // Cuts what is left. gRPC callers that come while its server ends may be told CANCELLED, which
  // they must take for their own doing: a process calls Close() and ends without this instead.
  virtual ~Router() = default;

  virtual std::string http_address() const = 0;
  virtual std::string grpc_address() const = 0;
  // Upkeep: every few tens of milliseconds, from start to end, also while draining; less often
  // while nothing is in flight.
  virtual void Tick() = 0;
  // Takes nothing new; what runs goes on.
  virtual void Drain() = 0;
  virtual int inflight() const = 0;
  // Ends what is left and waits (2 s at most) until its callers have heard so. Both doors refuse
  // from then on, until the process ends and closes their connections.
  virtual void Close() = 0;
};

}  // namespace baton::router
