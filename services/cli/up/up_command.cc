#include "services/cli/up/up_command.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "common/config/command_line.h"
#include "services/cli/up/launch_plan.h"
#include "services/cli/up/runtime_dir.h"
#include "services/cli/up/supervisor.h"

namespace baton::cli {
namespace {

const config::Program& UpProgram() {
  static const auto* program = new config::Program{
      .name = "baton up",
      .about =
          "Starts a router, prefill workers and decode workers on this machine and keeps them up.",
      .examples =
          "  baton up --model models/baton-demo\n"
          "  baton up --model ./Qwen2.5-0.5B-Instruct --prefill 2 --decode 2 --http :8000\n"
          "  baton up --config cluster.yaml --set decode.kv_memory=2GiB\n",
      .sections = {"model", "up"},
      .extras = {"router.http", "router.grpc", "router.placement", "router.model_placement",
                 "router.trace_endpoint", "router.trace_ratio", "router.trace_slow",
                 "router.trace_slow_ttft"}};
  return *program;
}

// Where the other programs are: beside this one, unless something else starts them all.
std::string ProgramFolder() {
  if (const char* folder = std::getenv("BATON_PROGRAM_DIR"); folder != nullptr && *folder != 0) {
    return folder;
  }
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

// Inherited by every thread and taken by the supervisor's signalfd. A closed terminal must not stop
// the drain half-way.
void BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

absl::Status Validate(const config::ClusterOptions& options) {
  RETURN_IF_ERROR(options.model.Validate());
  RETURN_IF_ERROR(options.prefill.Validate("prefill"));
  RETURN_IF_ERROR(options.decode.Validate("decode"));
  RETURN_IF_ERROR(options.router.Validate());
  if (!options.up.demo.empty() && !options.router.api_keys_file.empty()) {
    return InvalidArgument("--demo has no API key to ask with, and router.api_keys_file is given");
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Run(config::ClusterOptions& options) {
  RETURN_IF_ERROR(Validate(options));
  RETURN_IF_ERROR(CheckCanListen(options.router.http, "--http"));
  RETURN_IF_ERROR(CheckCanListen(options.router.grpc, "--grpc"));
  ASSIGN_OR_RETURN(auto dir, options.up.runtime_dir.empty()
                                 ? RuntimeDir::Private()
                                 : RuntimeDir::Named(options.up.runtime_dir));
  LaunchPlan plan(options, ProgramFolder(), dir->path());
  RETURN_IF_ERROR(plan.CheckPrograms());
  return Supervisor(options, std::move(plan), *dir, isatty(STDOUT_FILENO) == 1).Run();
}

}  // namespace

int UpCommand(int argc, const char* const* argv) {
  BlockSignals();
  config::ClusterOptions options;
  if (auto exit = config::ParseCommandLine(UpProgram(), argc, argv, config::ProcessEnvironment(),
                                           options)) {
    return config::Leave(*exit);
  }
  const absl::StatusOr<int> code = Run(options);
  if (code.ok()) return *code;
  fmt::print(stderr, "baton up: {}\n", MessageOf(code.status()));
  return absl::IsUnavailable(code.status()) ? 1 : config::kExitConfig;
}

}  // namespace baton::cli
