#include "common/worker/health_door.h"

#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <utility>

#include "common/base/check.h"
#include "common/config/units.h"
#include "common/telemetry/logging.h"

namespace baton::worker {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<std::unique_ptr<HealthDoor>> HealthDoor::Open(const config::Address& listen,
                                                             absl::Duration stall,
                                                             const Clock& clock) {
  ASSIGN_OR_RETURN(rpc::Server server, rpc::StartServer({.listen = listen.text()}, {}));
  return std::unique_ptr<HealthDoor>(new HealthDoor(std::move(server), stall, clock));
}

HealthDoor::HealthDoor(rpc::Server server, absl::Duration stall, const Clock& clock)
    : stall_(stall),
      clock_(clock),
      server_(std::move(server)),
      progress_ns_(absl::ToInt64Nanoseconds(clock.Monotonic())),
      watch_(kLookEvery, [this] { Look(); }) {
  Set("", false);
  Set(kLiveness, true);
}

HealthDoor::~HealthDoor() {
  watch_.Stop();
  server_.server->Shutdown(std::chrono::system_clock::now());
}

void HealthDoor::Set(const char* service, bool serving) {
  grpc::HealthCheckServiceInterface* said = server_.server->GetHealthCheckService();
  CHECK(said != nullptr, "rpc::StartServer promises a health service");
  said->SetServingStatus(service, serving);
}

void HealthDoor::Look() {
  const absl::Duration still = clock_.Monotonic() - absl::Nanoseconds(progress_ns_.load());
  if ((still > stall_) == stalled_) return;
  stalled_ = !stalled_;
  Set(kLiveness, !stalled_);
  if (stalled_) {
    telemetry::LogWarning("worker", "nothing has been loaded for so long: not alive",
                          {{"startup_stall", config::DurationText(stall_)}});
  } else {
    telemetry::LogInfo("worker", "the start goes on");
  }
}

}  // namespace baton::worker
