#include "tests/support/worker_pair_test.h"

namespace baton::testing {

v1::PrefillTarget TargetOf(const v1::Registration& worker) {
  v1::PrefillTarget target;
  target.set_worker_id(worker.worker_id());
  target.set_grpc_address(worker.grpc_address());
  *target.mutable_transfer() = worker.transfer();
  return target;
}

std::unique_ptr<Process> WorkerPairTest::Start(const std::string& role, const std::string& model,
                                               const std::vector<std::string>& extra) {
  std::vector<std::string> args = {"--model",         SourceFile(model), "--router",
                                   router_.address(), "--threads",       "1"};
  args.insert(args.end(), extra.begin(), extra.end());
  return std::make_unique<Process>("baton-" + role + "-worker", args);
}

void WorkerPairTest::StartPair(const std::string& model, const std::vector<std::string>& extra) {
  prefill_ = Start("prefill", model, extra);
  decode_ = Start("decode", model, extra);
  prefill_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_PREFILL);
  decode_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_DECODE);
  stream_ = std::make_unique<DecodeStream>(decode_worker_.grpc_address());
}

void WorkerPairTest::KillPair() {
  stream_.reset();
  for (auto* process : {&prefill_, &decode_}) {
    (*process)->Signal(SIGKILL);
    (*process)->Wait();
  }
  ASSERT_TRUE(Eventually([&] {
    return !router_.IsAttached(prefill_worker_.worker_id()) &&
           !router_.IsAttached(decode_worker_.worker_id());
  }));
}

void WorkerPairTest::ExpectNothingLeaks(const v1::Registration& worker) {
  const bool clean = WaitForLoad(worker, [&](const v1::Load& load) {
    return load.blocks_total() > 0 && load.running() == 0 && load.waiting() == 0 &&
           load.blocks_free() + load.blocks_cached() == load.blocks_total();
  });
  EXPECT_TRUE(clean) << worker.worker_id() << ": "
                     << router_.LoadOf(worker.worker_id()).ShortDebugString();
}

}  // namespace baton::testing
