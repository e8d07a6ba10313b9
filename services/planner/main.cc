// baton-planner: how many workers there should be, for KEDA, an HPA or a person to follow.
#include "common/config/command_line.h"
#include "common/process/ports_file.h"
#include "common/process/start.h"
#include "common/process/stop_signal.h"
#include "common/telemetry/logging.h"
#include "services/planner/wiring/planning.h"

namespace baton::planner {
namespace {

const config::Program kProgram = {
    .name = "baton-planner",
    .about =
        "Says how many prefill and how many decode workers a cluster should have, from what its "
        "routers and workers measure.",
    .examples =
        "baton-planner --router router:8000 --ttft-target 800ms --itl-target 40ms\n"
        "baton-planner --router router:8000 --prefill-max 8 --decode-max 16 --budget-gpus 20 "
        "--dry-run",
    .sections = {"planner"},
};

absl::Status Serve(const config::PlannerOptions& options, StopSignal& stop) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(const auto planning, Planning::Start(options, Clock::Real()));
  RETURN_IF_ERROR(WritePortsFile(options.ports_file, {{"http", planning->http_address()},
                                                      {"grpc", planning->grpc_address()}}));
  telemetry::LogInfo("planner", "listening",
                     {{"grpc", planning->grpc_address()},
                      {"http", planning->http_address()},
                      {"tls", options.tls.on()},
                      {"dry_run", options.dry_run}});
  do {
    planning->Look();
  } while (!stop.WaitFor(options.interval));
  telemetry::LogInfo("planner", "stopping");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  StartProcess();
  StopSignal stop;
  config::ClusterOptions options;
  if (const auto exit =
          config::ParseCommandLine(kProgram, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  const config::LogOptions& log = options.planner.log;
  telemetry::InitLogging("planner", static_cast<telemetry::Level>(log.level),
                         static_cast<telemetry::Format>(log.format));
  const absl::Status status = Serve(options.planner, stop);
  if (status.ok()) return 0;
  telemetry::LogError("planner", MessageOf(status));
  // Trying again will not help a wrong option; a taken port may come free.
  return absl::IsUnavailable(status) ? 1 : config::kExitConfig;
}

}  // namespace
}  // namespace baton::planner

int main(int argc, char** argv) { return baton::planner::Main(argc, argv); }
