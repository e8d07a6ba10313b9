#include "common/worker/lifecycle.h"

#include <grpcpp/health_check_service_interface.h>

#include <chrono>

#include "absl/time/clock.h"
#include "common/base/check.h"
#include "common/concurrency/ticker.h"
#include "common/process/ports_file.h"
#include "common/process/start.h"
#include "common/rpc/server.h"
#include "common/telemetry/logging.h"
#include "common/worker/doctor/doctor_service.h"
#include "common/worker/health_door.h"
#include "common/worker/stall_watch.h"

namespace baton::worker {
namespace {

constexpr std::chrono::milliseconds kReasonsArriveWithin(500);
constexpr absl::Duration kReadinessEvery = absl::Milliseconds(200);

// Where the worker is reached, and where it is asked how it is.
struct Doors {
  rpc::Server grpc;
  HealthDoor* health = nullptr;  // beside `grpc`; may be none

  void Set(const char* service, bool serving) {
    grpc::HealthCheckServiceInterface* said = grpc.server->GetHealthCheckService();
    CHECK(said != nullptr, "rpc::StartServer promises a health service");
    said->SetServingStatus(service, serving);
    if (health != nullptr) health->Set(service, serving);
  }
};

// Of the worker's own services and of the whole server.
void SetServing(Doors& doors, const Surface& surface, bool serving) {
  for (const Surface::Service& service : surface.services) doors.Set(service.name, serving);
  doors.Set("", serving);
}

void WarnWhenOpen(const config::WorkerOptions& options) {
  if (options.tls.on() || options.grpc.loopback()) return;
  telemetry::LogWarning(
      "worker",
      "gRPC without TLS is open to the network: whoever reaches it may read and write KV; give "
      "tls_certificate, tls_key and tls_ca, or keep it on a trusted network",
      {{"grpc", options.grpc.text()}});
}

absl::StatusOr<Doors> Listen(Runtime& runtime, const config::WorkerOptions& options,
                             const Surface& surface, DoctorService& doctor) {
  std::vector<grpc::Service*> services = {&doctor};
  for (const Surface::Service& service : surface.services) services.push_back(service.service);
  const rpc::Credentials& credentials = runtime.credentials();
  Doors doors{.health = runtime.health_door()};
  ASSIGN_OR_RETURN(
      doors.grpc,
      rpc::StartServer({.listen = options.grpc.text(), .credentials = credentials}, services));
  const rpc::Server& server = doors.grpc;
  if (doors.health != nullptr) doors.health->EndStart();
  SetServing(doors, surface, options.routers.empty());
  doors.Set(kLiveness, true);
  telemetry::LogInfo(
      "worker", "listening",
      {{"grpc", server.address},
       {"tls", credentials.tls()},
       {"health", doors.health != nullptr ? doors.health->address() : server.address}});
  WarnWhenOpen(options);
  RETURN_IF_ERROR(WritePortsFile(options.ports_file, {{"grpc", server.address}}));
  return doors;
}

absl::StatusOr<std::unique_ptr<DoctorService>> MakeDoctor(Runtime& runtime,
                                                          const config::WorkerOptions& options) {
  constexpr const char* kPaths[] = {"auto", "shm", "tcp"};
  return DoctorService::Create({.worker_id = runtime.worker_id(),
                                .is_decode = runtime.role() == Role::kDecode,
                                .protocol = kProtocolVersion,
                                .fingerprint = runtime.fingerprint(),
                                .token_fingerprint = runtime.token_fingerprint(),
                                .transfer_path = kPaths[static_cast<int>(options.transfer_path)],
                                .device = [&runtime] { return runtime.DescribeDevice(); },
                                .credentials = runtime.credentials()},
                               runtime.transport(), Clock::Real());
}

// What others dial: --advertise, or where the server is bound.
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

// False: something still runs.
bool Drain(const config::WorkerOptions& options, const Surface& surface, RouterLinks& links,
           engine::Engine& engine, Doors& doors) {
  telemetry::LogInfo("worker", "draining",
                     {{"at_most", config::DurationText(options.drain_timeout)}});
  engine.Drain(surface.refuse);  // first: whoever hears that it does not serve is refused
  SetServing(doors, surface, false);
  links.SendDraining();
  const auto over = [&] {
    return engine.idle() && (surface.callers == nullptr || surface.callers() == 0);
  };
  const Clock& clock = Clock::Real();
  const absl::Duration until = clock.Monotonic() + options.drain_timeout;
  while (!over() && clock.Monotonic() < until) absl::SleepFor(absl::Milliseconds(10));
  const bool drained = over();
  telemetry::LogInfo("worker", drained ? "drained" : "drain timeout: what still runs is cut off");
  return drained;
}

// Ends all calls. Those that are cut off get a moment for the reason to reach the caller.
void ShutDown(rpc::Server& server, const config::WorkerOptions& options, const Surface& surface,
              bool drained) {
  std::chrono::system_clock::time_point until = std::chrono::system_clock::now();
  if (!drained && surface.cut_off) {
    surface.cut_off(Unavailable("this worker is leaving and its drain timeout of {} is over",
                                config::DurationText(options.drain_timeout)));
    until += kReasonsArriveWithin;
  }
  server.server->Shutdown(until);
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

absl::Status LoadAndRun(
    Role role, const config::ModelOptions& model, const config::WorkerOptions& options,
    StopSignal& stop,
    const std::function<absl::Status(Runtime&, const config::WorkerOptions&, StopSignal&)>& run) {
  RETURN_IF_ERROR(model.Validate());
  RETURN_IF_ERROR(options.Validate(NameOf(role)));
  ASSIGN_OR_RETURN(auto runtime, Runtime::Create(role, model, options));
  return run(*runtime, options, stop);
}

absl::Status ServeEngine(Runtime& runtime, const config::WorkerOptions& options,
                         const Surface& surface, StopSignal& stop) {
  ASSIGN_OR_RETURN(auto metrics, WorkerMetrics::Listen(options.metrics.text(),
                                                       NameOf(runtime.role()), runtime.model().name,
                                                       runtime.engine(), surface.handovers));
  ASSIGN_OR_RETURN(auto doctor, MakeDoctor(runtime, options));
  ASSIGN_OR_RETURN(Doors doors, Listen(runtime, options, surface, *doctor));
  RouterLinks links(
      RouterAddresses(options),
      runtime.Describe(AdvertisedAddress(options, doors.grpc), metrics->address()),
      {.snapshot = [&runtime] { CHECK_OK(runtime.engine().Post(engine::SendSnapshot{})); },
       .drain = [&stop] { stop.Raise(); }},
      runtime.credentials(), Clock::Real());
  surface.set_links(&links);
  const auto set_stalled = [&](bool stalled) {
    links.SetStalled(stalled);
    surface.set_stalled(stalled);
    doors.Set(kLiveness, !stalled);
  };
  runtime.device_failure().set_tell([&] { set_stalled(true); });
  {
    const StallWatch watch({}, runtime.engine_options(), runtime.engine(), set_stalled);
    // Whom no router knows is given no work.
    const Ticker readiness(kReadinessEvery, [&] {
      SetServing(doors, surface, options.routers.empty() || links.connected() > 0);
    });
    stop.Wait();
  }
  const bool drained = Drain(options, surface, links, runtime.engine(), doors);
  runtime.device_failure().set_tell(nullptr);
  // Calls first, then what they began, then the links: nobody speaks to somebody who is gone.
  ShutDown(doors.grpc, options, surface, drained);
  if (surface.stop) surface.stop();
  links.Stop();
  surface.set_links(nullptr);
  runtime.StopEngine();
  return absl::OkStatus();
}

}  // namespace

absl::Status Serve(Runtime& runtime, const config::WorkerOptions& options, const Surface& surface,
                   StopSignal& stop) {
  RETURN_IF_ERROR(runtime.StartEngine(*surface.observer, Clock::Real()));
  const absl::Status status = ServeEngine(runtime, options, surface, stop);
  runtime.StopEngine();  // also when serving never began: the observer is about to go
  return status;
}

int Main(
    const config::Program& program, Role role, int argc, char** argv,
    const std::function<absl::Status(Runtime&, const config::WorkerOptions&, StopSignal&)>& run) {
  StartProcess();
  StopSignal stop;
  config::ClusterOptions all;
  if (auto exit =
          config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(), all)) {
    return config::Leave(*exit);
  }
  const config::WorkerOptions& options = role == Role::kPrefill ? all.prefill : all.decode;
  telemetry::InitLogging(options.worker_id.empty() ? program.name : options.worker_id,
                         static_cast<telemetry::Level>(options.log.level),
                         static_cast<telemetry::Format>(options.log.format));
  const absl::Status status = LoadAndRun(role, all.model, options, stop, run);
  if (status.ok()) return 0;
  telemetry::LogError("worker", MessageOf(status));
  return ExitCodeOf(status);
}

}  // namespace baton::worker
