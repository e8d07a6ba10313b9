// baton-planner: how many workers there should be, for KEDA, an HPA or a person to follow.
#include <csignal>
#include <filesystem>
#include <fstream>

#include "common/config/command_line.h"
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

sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// True: a signal came.
bool Wait(const sigset_t& signals, absl::Duration time) {
  const timespec pause = absl::ToTimespec(time);
  return sigtimedwait(&signals, nullptr, &pause) > 0;
}

absl::Status WritePortsFile(const std::string& path, const Planning& planning) {
  if (path.empty()) return absl::OkStatus();
  const std::string draft = path + ".new";
  std::ofstream file(draft, std::ios::trunc);
  file << fmt::format(R"({{"http":"{}","grpc":"{}"}})", planning.http_address(),
                      planning.grpc_address())
       << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(draft, path, error);
  if (!file || error) return Unavailable("ports_file: cannot write {}", path);
  return absl::OkStatus();
}

absl::Status Serve(const config::PlannerOptions& options, const sigset_t& signals) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(const auto planning, Planning::Start(options, Clock::Real()));
  RETURN_IF_ERROR(WritePortsFile(options.ports_file, *planning));
  telemetry::LogInfo("planner", "listening",
                     {{"grpc", planning->grpc_address()},
                      {"http", planning->http_address()},
                      {"dry_run", options.dry_run}});
  do {
    planning->Look();
  } while (!Wait(signals, options.interval));
  telemetry::LogInfo("planner", "stopping");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  config::ClusterOptions options;
  if (const auto exit =
          config::ParseCommandLine(kProgram, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  const config::LogOptions& log = options.planner.log;
  telemetry::InitLogging("planner", static_cast<telemetry::Level>(log.level),
                         static_cast<telemetry::Format>(log.format));
  const sigset_t signals = BlockSignals();
  const absl::Status status = Serve(options.planner, signals);
  if (status.ok()) return 0;
  telemetry::LogError("planner", MessageOf(status));
  // Trying again will not help a wrong option; a taken port may come free.
  return absl::IsUnavailable(status) ? 1 : config::kExitConfig;
}

}  // namespace
}  // namespace baton::planner

int main(int argc, char** argv) { return baton::planner::Main(argc, argv); }
