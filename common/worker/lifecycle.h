#pragma once

#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/concurrency/stop_signal.h"
#include "common/config/cluster_options.h"
#include "common/engine/engine.h"
#include "common/rpc/server.h"
#include "common/worker/router_links.h"
#include "common/worker/runtime.h"

// The straight line both workers' main() walk along: listen, register, serve until told to stop,
// drain.
namespace baton::worker {

// Logs as --worker-id (or the program's name), as --log-level and --log-format say.
void InitLogging(const std::string& program, const config::WorkerOptions& options);

// Binds --grpc and writes --ports-file once bound: {"grpc":"127.0.0.1:40123"}.
absl::StatusOr<rpc::Server> Listen(const config::WorkerOptions& options,
                                   const std::vector<grpc::Service*>& services);

// What others dial: --advertise, or where the server is bound.
std::string AdvertisedAddress(const config::WorkerOptions& options, const rpc::Server& server);

// Addresses of --router as host:port.
std::vector<std::string> RouterAddresses(const config::WorkerOptions& options);

// Waits for SIGTERM or SIGINT, then drains: takes nothing new, lets what runs end, for
// --drain-timeout at most. Returns when it is time to go.
void ServeUntilStopped(StopSignal& stop, const config::WorkerOptions& options, RouterLinks& links,
                       engine::Engine& engine);

// A supervisor must not try again what cannot succeed: kExitConfig for a wrong model, file or
// value, 1 for what may be different next time (a port in use, memory).
int ExitCodeOf(const absl::Status& status);

}  // namespace baton::worker
