#include "common/base/check.h"
#include "common/config/command_line.h"
#include "common/telemetry/logging.h"
#include "common/worker/lifecycle.h"
#include "common/worker/metrics.h"
#include "services/decode_worker/decode_service.h"
#include "services/decode_worker/decode_worker.h"

namespace baton::decode_worker {
namespace {

absl::Status Run(StopSignal& stop, const config::ClusterOptions& options) {
  const config::WorkerOptions& own = options.decode;
  RETURN_IF_ERROR(options.model.Validate());
  RETURN_IF_ERROR(own.Validate("decode"));
  ASSIGN_OR_RETURN(auto runtime,
                   worker::Runtime::Create(worker::Role::kDecode, options.model, own));
  handover::ReceiverOptions receiver{
      .caller = runtime->worker_id(),
      .fingerprint = runtime->fingerprint(),
      .region = handover::DescribeRegion(runtime->region(), runtime->transport().local_address(),
                                         runtime->pool()),
      .checksums = own.checksums};
  DecodeWorker worker(*runtime, std::move(receiver), Clock::Real());
  DecodeService service(worker);
  RETURN_IF_ERROR(runtime->StartEngine(worker, Clock::Real()));
  ASSIGN_OR_RETURN(rpc::Server server, worker::Listen(own, {&service}));
  ASSIGN_OR_RETURN(
      auto metrics,
      worker::WorkerMetrics::Listen(own.metrics.text(), "decode", runtime->engine(), [&worker] {
        const auto counters = worker.receiver().counters();
        return worker::HandoverCounters{counters.bytes, counters.seconds, counters.completed,
                                        counters.failed, counters.checksum_mismatches};
      }));
  {
    worker::RouterLinks links(
        worker::RouterAddresses(own),
        runtime->Describe(worker::AdvertisedAddress(own, server), metrics->address()),
        [&] { CHECK_OK(runtime->engine().Post(engine::SendSnapshot{})); }, Clock::Real());
    worker.set_links(&links);
    worker::ServeUntilStopped(stop, own, links, runtime->engine());
    server.server->Shutdown(std::chrono::system_clock::now());
    worker.Stop();
    runtime->StopEngine();
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::decode_worker

int main(int argc, char** argv) {
  using namespace baton;
  StopSignal stop;
  config::ClusterOptions options;
  const config::Program program{
      .name = "baton-decode-worker",
      .about = "Generates tokens: owns a request from admission to its last token.",
      .examples = "  baton-decode-worker --model ./my-model --router 127.0.0.1:9000\n",
      .sections = {"model", "decode"},
      .extras = {}};
  if (auto exit =
          config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(), options)) {
    return config::Leave(*exit);
  }
  worker::InitLogging(program.name, options.decode);
  if (absl::Status status = decode_worker::Run(stop, options); !status.ok()) {
    telemetry::LogError("worker", MessageOf(status));
    return worker::ExitCodeOf(status);
  }
  return 0;
}
