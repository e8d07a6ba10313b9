#include "common/base/check.h"
#include "common/config/command_line.h"
#include "common/telemetry/logging.h"
#include "common/worker/lifecycle.h"
#include "common/worker/metrics.h"
#include "services/prefill_worker/prefill_service.h"
#include "services/prefill_worker/prefill_worker.h"

namespace baton::prefill_worker {
namespace {

absl::Status Run(StopSignal& stop, const config::ClusterOptions& options) {
  const config::WorkerOptions& own = options.prefill;
  RETURN_IF_ERROR(options.model.Validate());
  RETURN_IF_ERROR(own.Validate("prefill"));
  ASSIGN_OR_RETURN(auto runtime,
                   worker::Runtime::Create(worker::Role::kPrefill, options.model, own));
  PrefillWorker worker(*runtime, own.checksums, Clock::Real());
  PrefillService service(worker);
  RETURN_IF_ERROR(runtime->StartEngine(worker, Clock::Real()));
  ASSIGN_OR_RETURN(rpc::Server server, worker::Listen(own, {&service}));
  ASSIGN_OR_RETURN(auto metrics,
                   worker::WorkerMetrics::Listen(own.metrics.text(), "prefill", runtime->engine(),
                                                 [&worker] { return worker.handover_counters(); }));
  {
    worker::RouterLinks links(
        worker::RouterAddresses(own),
        runtime->Describe(worker::AdvertisedAddress(own, server), metrics->address()),
        [&] { CHECK_OK(runtime->engine().Post(engine::SendSnapshot{})); }, Clock::Real());
    worker.set_links(&links);
    worker::ServeUntilStopped(stop, own, links, runtime->engine());
    server.server->Shutdown(std::chrono::system_clock::now());
    runtime->StopEngine();
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::prefill_worker

int main(int argc, char** argv) {
  using namespace baton;
  StopSignal stop;
  config::ClusterOptions options;
  const config::Program program{
      .name = "baton-prefill-worker",
      .about = "Runs prompts and pushes their KV into decode workers' memory while it computes.",
      .examples = "  baton-prefill-worker --model ./my-model --router 127.0.0.1:9000\n",
      .sections = {"model", "prefill"},
      .extras = {}};
  if (auto exit =
          config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  worker::InitLogging(program.name, options.prefill);
  if (absl::Status status = prefill_worker::Run(stop, options); !status.ok()) {
    telemetry::LogError("worker", MessageOf(status));
    return worker::ExitCodeOf(status);
  }
  return 0;
}
