#include "common/worker/lifecycle.h"

#include <cstdio>
#include <fstream>

#include "absl/time/clock.h"
#include "common/config/command_line.h"
#include "common/telemetry/logging.h"
#include "nlohmann/json.hpp"

namespace baton::worker {
namespace {

// Under another name first, so that whoever waits for the file never reads half of it.
absl::Status WritePortsFile(const std::string& path, const std::string& grpc_address) {
  const std::string unfinished = path + ".part";
  std::ofstream(unfinished) << nlohmann::json{{"grpc", grpc_address}}.dump() << "\n";
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) {
    return InvalidArgument("--ports-file {}: cannot be written", path);
  }
  return absl::OkStatus();
}

}  // namespace

void InitLogging(const std::string& program, const config::WorkerOptions& options) {
  telemetry::InitLogging(options.worker_id.empty() ? program : options.worker_id,
                         static_cast<telemetry::Level>(options.log.level),
                         static_cast<telemetry::Format>(options.log.format));
}

absl::StatusOr<rpc::Server> Listen(const config::WorkerOptions& options,
                                   const std::vector<grpc::Service*>& services) {
  ASSIGN_OR_RETURN(rpc::Server server, rpc::StartServer({.listen = options.grpc.text()}, services));
  telemetry::LogInfo("worker", "listening", {{"grpc", server.address}});
  if (!options.ports_file.empty()) {
    RETURN_IF_ERROR(WritePortsFile(options.ports_file, server.address));
  }
  return server;
}

std::string AdvertisedAddress(const config::WorkerOptions& options, const rpc::Server& server) {
  if (options.advertise.host.empty()) return server.address;
  if (options.advertise.port != 0) return options.advertise.text();
  return fmt::format("{}:{}", options.advertise.host, server.port);
}

std::vector<std::string> RouterAddresses(const config::WorkerOptions& options) {
  std::vector<std::string> addresses;
  for (const config::Address& router : options.routers) addresses.push_back(router.text());
  return addresses;
}

void ServeUntilStopped(StopSignal& stop, const config::WorkerOptions& options, RouterLinks& links,
                       engine::Engine& engine) {
  stop.Wait();
  telemetry::LogInfo("worker", "draining",
                     {{"at_most", config::DurationText(options.drain_timeout)}});
  links.SendDraining();
  engine.Drain();
  const absl::Time until = absl::Now() + options.drain_timeout;
  while (!engine.idle() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(10));
  telemetry::LogInfo("worker",
                     engine.idle() ? "drained" : "drain timeout: what still runs is cut off");
}

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
      return config::kExitConfig;
    default:
      return 1;
  }
}

}  // namespace baton::worker
