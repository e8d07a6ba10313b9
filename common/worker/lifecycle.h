#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/config/cluster_options.h"
#include "common/config/command_line.h"
#include "common/process/stop_signal.h"
#include "common/worker/metrics.h"
#include "common/worker/router_links.h"
#include "common/worker/runtime.h"

// The straight line both workers' main() walk along: read options, load, listen, register, serve
// until told to stop, drain.
namespace baton::worker {

// What a kind of worker adds to the common line. All of it outlives Serve().
struct Surface {
  struct Service {
    const char* name = "";  // as grpc.health.v1 knows it
    grpc::Service* service = nullptr;
  };
  engine::Observer* observer = nullptr;
  std::vector<Service> services;
  std::function<void(RouterLinks*)> set_links;
  std::function<HandoverCounters()> handovers;
  std::function<void(bool)> set_stalled;                // the engine hangs, or goes on
  engine::Refuse refuse = engine::Refuse::kEverything;  // when draining
  // Those who may still want something of a draining worker, which stays for them; null: nobody.
  std::function<int()> callers;
  // The drain timeout is over: tells callers why what still runs ends; may be null.
  std::function<void(const absl::Status& why)> cut_off;
  std::function<void()> stop;  // ends hand-overs while the engine is still there; may be null
};

// Starts the engine, binds --grpc (and writes --ports-file), registers at the routers, and serves
// until SIGTERM or SIGINT; then says "not serving", takes nothing new and lets what runs end, for
// --drain-timeout at most.
absl::Status Serve(Runtime& runtime, const config::WorkerOptions& options, const Surface& surface,
                   StopSignal& stop);

// The whole of a worker's main(): options, logging, the runtime, then `run`. Exit codes tell a
// supervisor whether another try can help: kExitUsage and kExitConfig say that it cannot.
int Main(
    const config::Program& program, Role role, int argc, char** argv,
    const std::function<absl::Status(Runtime&, const config::WorkerOptions&, StopSignal&)>& run);

}  // namespace baton::worker
