// baton-router: the front door of a cluster. Clients come by HTTP and gRPC, workers dial in by
// gRPC.
#include <cstdlib>
#include <map>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/config/command_line.h"
#include "common/process/ports_file.h"
#include "common/process/start.h"
#include "common/process/stop_signal.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "services/router/wiring/router.h"

namespace baton::router {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(20);
constexpr absl::Duration kIdleTick = absl::Milliseconds(100);

const config::Program kProgram = {
    .name = "baton-router",
    .about =
        "The front door of a Baton cluster: OpenAI-compatible HTTP and gRPC for clients, gRPC for "
        "workers that register.",
    .examples =
        "baton-router --model models/demo\n"
        "baton-router --model models/demo --http 0.0.0.0:8000 --grpc 0.0.0.0:9000 --placement "
        "cost\n"
        "baton-router --model models/chat --models code=models/coder",
    .sections = {"model", "router"},
};

void InitLogging(const config::LogOptions& log) {
  telemetry::InitLogging("router", static_cast<telemetry::Level>(log.level),
                         static_cast<telemetry::Format>(log.format));
}

bool TickUntilSignal(Router& router, StopSignal& stop) {
  const bool signalled = stop.WaitFor(router.inflight() > 0 ? kTick : kIdleTick);
  router.Tick();
  return signalled;
}

void DrainAndStop(Router& router, StopSignal& stop, absl::Duration patience) {
  const absl::Duration deadline = Clock::Real().Monotonic() + patience;
  telemetry::LogInfo("router", "draining", {{"inflight", router.inflight()}});
  router.Drain();
  while (router.inflight() > 0 && Clock::Real().Monotonic() < deadline) {
    if (TickUntilSignal(router, stop)) break;  // asked twice: now
  }
  telemetry::LogInfo("router", "stopping", {{"cut", router.inflight()}});
}

absl::StatusOr<ServedModels> LoadModels(const config::ClusterOptions& options) {
  std::map<std::string, std::string> folders = options.router.models;
  const std::string first = options.model.served_name();
  if (!folders.emplace(first, options.model.path).second) {
    return InvalidArgument("router.models names \"{}\", which is --model's", first);
  }
  std::vector<std::unique_ptr<ServedModel>> models;
  for (const auto& [name, folder] : folders) {
    auto model = ServedModel::Load(name, folder);
    if (!model.ok()) return Annotate(model.status(), fmt::format("model \"{}\"", name));
    models.push_back(*std::move(model));
  }
  return ServedModels::Make(std::move(models));
}

absl::Status Serve(const config::ClusterOptions& options, StopSignal& stop) {
  RETURN_IF_ERROR(options.model.Validate());
  ASSIGN_OR_RETURN(ServedModels models, LoadModels(options));
  const std::string names = absl::StrJoin(models.names(), ", ");
  ASSIGN_OR_RETURN(auto router, Router::Start(options.router, std::move(models), Clock::Real()));
  RETURN_IF_ERROR(WritePortsFile(options.router.ports_file, {{"http", router->http_address()},
                                                             {"grpc", router->grpc_address()}}));
  telemetry::LogInfo("router", "listening",
                     {{"http", router->http_address()},
                      {"grpc", router->grpc_address()},
                      {"tls", options.router.tls.on()},
                      {"https", !options.router.http_tls_certificate.empty()},
                      {"api_keys", !options.router.api_keys_file.empty()},
                      {"models", names},
                      {"placement", options.router.placement}});
  while (!TickUntilSignal(*router, stop)) {
  }
  DrainAndStop(*router, stop, options.router.drain_timeout);
  router->Close();
  // The kernel closes the connections, and whoever calls at this moment hears UNAVAILABLE. A gRPC
  // server that is shut down says CANCELLED to calls that reach it before its farewell does.
  std::_Exit(0);
}

int Main(int argc, char** argv) {
  StartProcess();
  StopSignal stop;  // taken by the main thread only, between two ticks
  config::ClusterOptions options;
  if (const auto exit =
          config::ParseCommandLine(kProgram, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  InitLogging(options.router.log);
  const absl::Status status = Serve(options, stop);
  if (status.ok()) return 0;
  telemetry::LogError("router", MessageOf(status));
  // Trying again will not help a wrong model or option; a taken port may come free.
  return absl::IsUnavailable(status) ? 1 : config::kExitConfig;
}

}  // namespace
}  // namespace baton::router

int main(int argc, char** argv) { return baton::router::Main(argc, argv); }
