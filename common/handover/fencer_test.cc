#include "common/handover/fencer.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/clock.h"
#include "common/concurrency/ticker.h"
#include "common/handover/destination.h"
#include "common/handover/grpc_prefill_peers.h"
#include "common/handover/testing/fake_prefill_peer.h"

namespace baton::handover {
namespace {

class FencerTest : public ::testing::Test {
 protected:
  void Watch(uint64_t epoch, uint64_t wire_epoch, const v1::PrefillTarget& target) {
    fencer_->Watch({.epoch = epoch, .wire_epoch = wire_epoch, .target = target});
  }
  bool AwaitFenced(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return fenced_.size() >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience);
  }
  std::vector<uint64_t> fenced() {
    absl::MutexLock lock(&mutex_);
    return fenced_;
  }

  transfer::LoopbackFabric fabric_;
  transfer::LoopbackTransport transport_{fabric_};
  GrpcPrefillPeers peers_;
  FakePrefillPeer a_{fabric_, "prefill-a"};
  FakePrefillPeer b_{fabric_, "prefill-b"};
  absl::Mutex mutex_;
  std::vector<uint64_t> fenced_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Fencer> fencer_ =
      std::make_unique<Fencer>("decode-0@1", transport_, peers_, [this](uint64_t epoch) {
        absl::MutexLock lock(&mutex_);
        fenced_.push_back(epoch);
      });
  Ticker ticker_{absl::Milliseconds(5), [this] { fencer_->Tick(Clock::Real().Monotonic()); }};
};

TEST_F(FencerTest, AnAnswerEndsTheDoubtOfThatEpochOnce) {
  Watch(900, 17, a_.target());
  ASSERT_TRUE(AwaitFenced(1));
  Watch(901, 18, b_.target());
  ASSERT_TRUE(AwaitFenced(2));
  EXPECT_EQ(fenced(), (std::vector<uint64_t>{900, 901})) << "the engine's names, once each";
  ASSERT_EQ(a_.fences_asked(), 1u);
  EXPECT_EQ(a_.AwaitFences(1)[0].caller(), "decode-0@1");
  EXPECT_EQ(a_.AwaitFences(1)[0].epoch(), 17u) << "the worker knows the attempt's";
  fencer_->Stop();
  EXPECT_EQ(fencer_->watched(), 0);
}

TEST_F(FencerTest, AnErrorIsNoAnswer) {
  a_.SetFences(FakePrefillPeer::Fences::kFail);
  Watch(900, 17, a_.target());
  ASSERT_GE(a_.AwaitFences(3).size(), 3u) << "asked again and again";
  EXPECT_TRUE(fenced().empty());
  EXPECT_EQ(fencer_->watched(), 1) << "also while it is being asked about";
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  ASSERT_TRUE(AwaitFenced(1));
}

TEST_F(FencerTest, TheDeadNeedNotAnswer) {
  v1::PrefillTarget target = a_.target();
  target.set_grpc_address("127.0.0.1:1");
  fabric_.Kill(FromProto(target.transfer()));
  Watch(900, 17, target);
  ASSERT_TRUE(AwaitFenced(1));
  EXPECT_EQ(a_.fences_asked(), 0u);
}

// A hundred answers that do not come, one after the other, would be half a minute.
TEST_F(FencerTest, ASilentWorkerKeepsNobodyElseInDoubt) {
  constexpr int32_t kSilent = 100;
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  for (uint64_t epoch = 0; epoch < kSilent; ++epoch) Watch(epoch, epoch, a_.target());
  ASSERT_FALSE(a_.AwaitFences(1).empty());
  for (uint64_t epoch = 901; epoch < 905; ++epoch) Watch(epoch, epoch, b_.target());
  ASSERT_TRUE(AwaitFenced(4));
  const std::vector<uint64_t> over = fenced();
  EXPECT_EQ(std::set<uint64_t>(over.begin(), over.end()), (std::set<uint64_t>{901, 902, 903, 904}));
  fencer_->Stop();
  EXPECT_EQ(fencer_->watched(), kSilent);
}

TEST_F(FencerTest, StopDoesNotWaitForAnswersThatDoNotCome) {
  constexpr int32_t kDoubts = 100;
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  for (uint64_t epoch = 0; epoch < kDoubts; ++epoch) Watch(epoch, epoch, a_.target());
  ASSERT_FALSE(a_.AwaitFences(1).empty());
  const absl::Duration began = Clock::Real().Monotonic();
  fencer_->Stop();
  EXPECT_LT(Clock::Real().Monotonic() - began, absl::Seconds(10));
  EXPECT_TRUE(fenced().empty());
  EXPECT_EQ(fencer_->watched(), kDoubts) << "they stay in doubt";
}

}  // namespace
}  // namespace baton::handover
