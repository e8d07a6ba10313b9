#include "common/concurrency/ticker.h"
#include "common/handover/grpc_prefill_peers.h"
#include "common/worker/lifecycle.h"
#include "common/worker/prefill_service.h"
#include "services/decode_worker/decode_service.h"
#include "services/decode_worker/decode_worker.h"

namespace baton::decode_worker {
namespace {

constexpr absl::Duration kUpkeepEvery = absl::Milliseconds(50);

absl::Status Run(worker::Runtime& runtime, const config::WorkerOptions& options, StopSignal& stop) {
  handover::GrpcPrefillPeers peers(runtime.credentials());
  DecodeWorker worker(runtime.footing(),
                      {.caller = runtime.worker_id(),
                       .fingerprint = runtime.fingerprint(),
                       .region = handover::DescribeRegion(
                           runtime.region(), runtime.transport().local_address(), runtime.pool()),
                       .checksums = options.checksums,
                       .lease = options.lease},
                      peers, Clock::Real());
  Ticker ticker(kUpkeepEvery, [&] { worker.Tick(Clock::Real().Monotonic()); });
  DecodeService decode(worker);
  worker::PrefillService prefill(worker.server());
  return worker::Serve(runtime, options,
                       {.observer = &worker,
                        .services = {{v1::DecodeWorker::service_full_name(), &decode},
                                     {v1::PrefillWorker::service_full_name(), &prefill}},
                        .set_links = [&](worker::RouterLinks* links) { worker.set_links(links); },
                        .handovers = [&] { return worker.handover_counters(); },
                        .set_stalled = [&](bool yes) { worker.server().SetStalled(yes); },
                        // Its requests go on elsewhere with the KV they fetch from here.
                        .refuse = engine::Refuse::kGenerations,
                        .callers = [&] { return worker.sessions(); },
                        .cut_off = [&](const absl::Status& why) { worker.CutOff(why); },
                        .stop = [&] { worker.Stop(); }},
                       stop);
}

}  // namespace
}  // namespace baton::decode_worker

int main(int argc, char** argv) {
  return baton::worker::Main(
      {.name = "baton-decode-worker",
       .about = "Generates tokens: owns a request from admission to its last token.",
       .examples = "  baton-decode-worker --model ./my-model --router 127.0.0.1:9000\n",
       .sections = {"model", "decode"},
       .extras = {}},
      baton::worker::Role::kDecode, argc, argv, baton::decode_worker::Run);
}
