#include "common/concurrency/ticker.h"
#include "common/worker/lifecycle.h"
#include "common/worker/prefill_service.h"
#include "services/prefill_worker/prefill_worker.h"

namespace baton::prefill_worker {
namespace {

constexpr absl::Duration kUpkeepEvery = absl::Milliseconds(50);

absl::Status Run(worker::Runtime& runtime, const config::WorkerOptions& options, StopSignal& stop) {
  PrefillWorker worker(runtime.footing(), options.checksums, Clock::Real());
  worker::PrefillService service(worker.server());
  Ticker ticker(kUpkeepEvery, [&] { worker.server().Tick(Clock::Real().Monotonic()); });
  return worker::Serve(runtime, options,
                       {.observer = &worker,
                        .services = {{v1::PrefillWorker::service_full_name(), &service}},
                        .set_links = [&](worker::RouterLinks* links) { worker.set_links(links); },
                        .handovers = [&] { return worker.handover_counters(); },
                        .set_stalled = [&](bool yes) { worker.server().SetStalled(yes); },
                        .refuse = engine::Refuse::kEverything,
                        .callers = nullptr,
                        .cut_off = nullptr,
                        .stop = nullptr},
                       stop);
}

}  // namespace
}  // namespace baton::prefill_worker

int main(int argc, char** argv) {
  return baton::worker::Main(
      {.name = "baton-prefill-worker",
       .about = "Runs prompts and pushes their KV into decode workers' memory while it computes.",
       .examples = "  baton-prefill-worker --model ./my-model --router 127.0.0.1:9000\n",
       .sections = {"model", "prefill"},
       .extras = {}},
      baton::worker::Role::kPrefill, argc, argv, baton::prefill_worker::Run);
}
