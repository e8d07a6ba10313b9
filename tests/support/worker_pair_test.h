#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/decode_stream.h"
#include "tests/support/fake_router.h"
#include "tests/support/process.h"

namespace baton::testing {

// How a decode worker is told of a prefill worker.
v1::PrefillTarget TargetOf(const v1::Registration& worker);

// One real prefill and one real decode process; the test is their router.
class WorkerPairTest : public ::testing::Test {
 protected:
  // `model` is relative to the source tree.
  std::unique_ptr<Process> Start(const std::string& role, const std::string& model,
                                 const std::vector<std::string>& extra);
  // Starts both and waits until they have registered.
  void StartPair(const std::string& model, const std::vector<std::string>& extra = {});
  // Kills both and waits until the router has noticed: the next pair knows nothing of this one.
  void KillPair();
  // Waits until nothing runs and every block is free or cached; fails the test when that does not
  // come.
  void ExpectNothingLeaks(const v1::Registration& worker);
  // Waits until the worker's last load report satisfies `condition`.
  template <typename Condition>
  bool WaitForLoad(const v1::Registration& worker, Condition condition) {
    return Eventually([&] { return condition(router_.LoadOf(worker.worker_id())); });
  }

  FakeRouter router_;
  std::unique_ptr<Process> prefill_, decode_;
  v1::Registration prefill_worker_, decode_worker_;
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace baton::testing
