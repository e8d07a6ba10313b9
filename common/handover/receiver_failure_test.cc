// Prefill workers that refuse, fall silent, die or answer too late; requests that end meanwhile.
#include <gtest/gtest.h>

#include <random>

#include "common/handover/testing/receiver_fixture.h"

namespace baton::handover {
namespace {

using engine::KvArrived;
using engine::KvFailed;
using engine::KvFenced;

using ReceiverFailureTest = ReceiverFixture;

TEST_F(ReceiverFailureTest, ASilentWorkerLosesItsHandOverWhenItsLeaseIsOver) {
  ticker_.reset();
  clock_.Stop();
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->request().lease_ms(), absl::ToInt64Milliseconds(kLease));
  clock_.Advance(kLease);
  receiver_->Tick(clock_.Monotonic());
  EXPECT_EQ(receiver_->active(), 1) << "not yet longer than its lease";
  clock_.Advance(absl::Milliseconds(1));
  receiver_->Tick(clock_.Monotonic());
  EXPECT_TRUE(call->AwaitHangUp());
  ExpectFailed("r", 900, /*fenced=*/false);
  EXPECT_EQ(posts_.untaken(), 0u) << "it may still write: its blocks stay where they are";
  receiver_->Tick(clock_.Monotonic());
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  ExpectFenced(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWorkerThatSaysThatItGetsOnKeepsItsLease) {
  ticker_.reset();
  clock_.Stop();
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  v1::PrefillEvent alive;
  alive.mutable_alive();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kLease * 0.6);
    const uint64_t heard = receiver_->counters().events;
    call->Send(alive);
    while (receiver_->counters().events == heard) std::this_thread::yield();
    receiver_->Tick(clock_.Monotonic());
  }
  Serve(a_, *call, 2);
  ExpectArrived(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWorkerThatIsLeftIsStoppedAndTheNextOneAsked) {
  Ask("r", 900, {5, 3}, {&a_, &b_});
  Ask("s", 901, {6}, {&a_, &a_});
  auto first = a_.NextCall();
  auto second = a_.NextCall();
  ASSERT_TRUE(first && second);
  receiver_->Leave("nobody", "it is not here");
  receiver_->Leave(a_.target().worker_id(), "it has become slow");
  for (const auto& call : {first, second}) {
    ASSERT_TRUE(call->AwaitCancel());
    call->End(absl::CancelledError("as you wish"), true);
  }
  ExpectFailed("s", 901, true);  // there was nobody else
  auto next = b_.NextCall();
  ASSERT_NE(next, nullptr);
  Serve(b_, *next, 9);
  ExpectArrived(900);
  const auto failures = receiver_->TakeFailures({RequestId("r"), 0});
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].status, absl::CancelledError("it has become slow"));
  EXPECT_EQ(a_.calls(), 2);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWorkerThatIsLeftAndDoesNotStopIsCutOffAfterALease) {
  ticker_.reset();
  clock_.Stop();
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  receiver_->Leave(a_.target().worker_id(), "it has become slow");
  v1::PrefillEvent alive;
  alive.mutable_alive();
  clock_.Advance(kLease);
  call->Send(alive);
  while (receiver_->counters().events == 0) std::this_thread::yield();
  receiver_->Tick(clock_.Monotonic());
  EXPECT_EQ(receiver_->active(), 1);
  clock_.Advance(absl::Milliseconds(1));
  receiver_->Tick(clock_.Monotonic());
  EXPECT_TRUE(call->AwaitHangUp());
  ExpectFailed("r", 900, /*fenced=*/false);
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  receiver_->Tick(clock_.Monotonic());
  ExpectFenced(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWorkerThatIsLeftBeforeItsTurnIsNotAsked) {
  receiver_->SetTargets(RequestId("r"), {a_.target(), b_.target()});
  receiver_->Leave(a_.target().worker_id(), "it has become slow");
  receiver_->OnPrefillNeeded(Needed("r", 900, {5}));
  auto call = b_.NextCall();
  ASSERT_NE(call, nullptr);
  Serve(b_, *call, 9);
  ExpectArrived(900);
  EXPECT_EQ(a_.calls(), 0);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, WithNobodyToAskTheEngineIsToldAtOnce) {
  Ask("r", 900, {5}, {});
  EXPECT_EQ(posts_.untaken(), 1u);
  ExpectFailed("r", 900, true);
  Ask("r", 901, {5}, {&a_});
  ASSERT_NE(a_.NextCall(), nullptr);
  receiver_->ForgetRequest(RequestId("r"));
  receiver_->OnPrefillNeeded(Needed("r", 902, {6}));
  ExpectFailed("r", 902, true);  // its targets are forgotten
  EXPECT_EQ(a_.calls(), 1);
}

TEST_F(ReceiverFailureTest, ARefusalGoesToTheNextWorkerWithTheSameBlocksAndANewEpoch) {
  Ask("r", 900, {5, 3}, {&a_, &b_});
  auto refused = a_.NextCall();
  ASSERT_NE(refused, nullptr);
  refused->End(absl::ResourceExhaustedError("queue full"), true);
  auto call = b_.NextCall();
  ASSERT_NE(call, nullptr);
  EXPECT_NE(call->request().epoch(), refused->request().epoch());
  EXPECT_EQ(call->request().blocks_size(), 2);
  Serve(b_, *call, 9);
  ExpectArrived(900);
  EXPECT_EQ(a_.fences_asked() + b_.fences_asked(), 0u) << "the answer itself was the fence";
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, WhenAllRefuseTheEngineGetsItsBlocksBack) {
  Ask("r", 900, {5}, {&a_, &b_});
  for (FakePrefillPeer* peer : {&a_, &b_}) {
    auto call = peer->NextCall();
    ASSERT_NE(call, nullptr);
    call->End(absl::ResourceExhaustedError("queue full"), true);
  }
  ExpectFailed("r", 900, true);
  EXPECT_EQ(receiver_->counters().failed, 2u);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWriteOnItsWayKeepsTheBlocksQuarantinedUntilTheWriterAnswers) {
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  Ask("r", 900, {5, 3}, {&a_, &b_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  fabric_.Pause(/*after_pieces=*/1);
  auto put = BeginPut(a_, call->request(), 0xcd);
  fabric_.AwaitHeldTransfer();
  call->Break();
  ExpectFailed("r", 900, /*fenced=*/false);  // the engine goes on at once, in other blocks
  ASSERT_FALSE(a_.AwaitFences(1).empty());
  EXPECT_EQ(posts_.untaken(), 0u);

  fabric_.Resume();  // the late write lands where nobody else is
  put->WaitForNotification();
  EXPECT_TRUE(Holds(5, 0xcd) && Holds(3, 0xcd));
  EXPECT_EQ(posts_.untaken(), 0u) << "nobody has said yet that it was the last one";
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  ExpectFenced(900);
  EXPECT_EQ(b_.calls(), 0) << "a second writer into blocks that the first may still write to";
  EXPECT_EQ(a_.AwaitFences(1)[0].caller(), "decode-0@1");
  EXPECT_EQ(a_.AwaitFences(1)[0].epoch(), call->request().epoch());
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AWorkerKilledInMidTransferIsReplacedAtOnce) {
  Ask("r", 900, {5, 3}, {&a_, &b_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  fabric_.Pause(/*after_pieces=*/1);
  BeginPut(a_, call->request(), 0xee);
  fabric_.AwaitHeldTransfer();
  a_.Die(fabric_);
  fabric_.Resume();
  auto second = b_.NextCall();
  ASSERT_NE(second, nullptr) << "the dead cannot write: no quarantine is needed";
  Serve(b_, *second, 2);
  ExpectArrived(900);
  EXPECT_TRUE(Holds(5, 2) && Holds(3, 2)) << "nothing of the first writer is left";
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, ADeathInDoubtEndsTheQuarantine) {
  a_.SetFences(FakePrefillPeer::Fences::kFail);
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  call->Break();
  ExpectFailed("r", 900, false);
  ASSERT_GE(a_.AwaitFences(2).size(), 2u) << "asked again after an error";
  EXPECT_EQ(posts_.untaken(), 0u);
  a_.Die(fabric_);
  ExpectFenced(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AnAnswerAfterTheTimeoutChangesNothing) {
  Make({.attempt_timeout = absl::Milliseconds(50)});
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  Ask("r", 900, {5}, {&a_, &b_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  const auto failed = posts_.NextAs<KvFailed>();
  ASSERT_TRUE(failed);
  EXPECT_TRUE(absl::IsDeadlineExceeded(failed->reason)) << failed->reason;
  EXPECT_FALSE(failed->fenced) << "it may just be slow, and write on";
  EXPECT_TRUE(call->AwaitHangUp()) << "the worker is told";
  Serve(a_, *call, 0x11);
  EXPECT_EQ(posts_.untaken(), 0u) << "a late completion is not a delivery";
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  ExpectFenced(900);
  EXPECT_EQ(receiver_->counters().completed, 0u);
  EXPECT_EQ(receiver_->DeliveryOf({RequestId("r"), 0}).prefill_worker, "");
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, AnAddressNobodyListensAtIsInDoubtUntilItsProcessIsKnownToBeGone) {
  FakePrefillPeer deaf(fabric_, "prefill-deaf");
  v1::PrefillTarget target = deaf.target();
  target.set_grpc_address("127.0.0.1:1");
  receiver_->SetTargets(RequestId("r"), {target, b_.target()});
  receiver_->OnPrefillNeeded(Needed("r", 900, {5}));
  ExpectFailed("r", 900, false);
  fabric_.Kill(FromProto(target.transfer()));
  ExpectFenced(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, ASequenceThatEndsStopsItsPrefillAndAsksNobodyElse) {
  Ask("r", 900, {5}, {&a_, &b_});
  Ask("other", 901, {6}, {&b_});
  auto call = a_.NextCall();
  auto other = b_.NextCall();
  ASSERT_TRUE(call != nullptr && other != nullptr);
  receiver_->OnSequenceEnded({RequestId("r"), 0});
  receiver_->OnSequenceEnded({RequestId("r"), 0});
  ASSERT_TRUE(call->AwaitCancel());
  EXPECT_EQ(posts_.untaken(), 0u) << "puts may still be under way";
  Serve(b_, *other, 4);
  ExpectArrived(901);
  call->End(absl::CancelledError("cancelled by the decode worker"), true);
  ExpectFailed("r", 900, true);
  EXPECT_EQ(receiver_->counters().failed, 0u) << "cancelled is not a failure";
  EXPECT_EQ(call->cancels(), 1);
  EXPECT_EQ(b_.calls(), 1) << "nobody was asked in the cancelled one's stead";
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, ACancelledPrefillWhoseWorkerBreaksIsFencedAllTheSame) {
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  receiver_->OnSequenceEnded({RequestId("r"), 0});
  ASSERT_TRUE(call->AwaitCancel());
  call->Break();
  ExpectFailed("r", 900, false);
  ASSERT_FALSE(a_.AwaitFences(1).empty());
  EXPECT_EQ(posts_.untaken(), 0u);
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  ExpectFenced(900);
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, ACompletionThatCrossesTheCancelOnlyReturnsTheBlocks) {
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  receiver_->OnSequenceEnded({RequestId("r"), 0});
  ASSERT_TRUE(call->AwaitCancel());
  Serve(a_, *call, 3);
  ExpectArrived(900);  // the engine frees the epoch's blocks
  EXPECT_EQ(receiver_->DeliveryOf({RequestId("r"), 0}).prefill_worker, "") << "nobody is billed";
  ExpectQuiet();
}

TEST_F(ReceiverFailureTest, StopEndsCallsThatNobodyAnswersAndPostsNothingAfterwards) {
  a_.SetFences(FakePrefillPeer::Fences::kHold);
  for (uint64_t epoch = 900; epoch < 908; ++epoch) Ask("r", epoch, {int32_t(epoch - 900)}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  receiver_->Stop();
  EXPECT_EQ(receiver_->active(), 0);
  const size_t posted = posts_.untaken();
  EXPECT_EQ(posted, 8u);
  EXPECT_TRUE(call->AwaitHangUp());
  a_.SetFences(FakePrefillPeer::Fences::kAnswer);
  receiver_->Stop();  // twice does no harm
  // As long as a fencer that runs takes for several rounds.
  Fencer running("decode-1@1", transport_, peers_, [](uint64_t) {});
  Ticker ticker(absl::Milliseconds(5), [&] { running.Tick(Clock::Real().Monotonic()); });
  b_.SetFences(FakePrefillPeer::Fences::kFail);
  running.Watch({.epoch = 1, .wire_epoch = 1, .target = b_.target()});
  ASSERT_GE(b_.AwaitFences(5).size(), 5u);
  ticker.Stop();
  running.Stop();
  EXPECT_EQ(posts_.untaken(), posted);
}

// Whatever the workers do, every epoch ends once, and its blocks come back exactly once.
TEST_F(ReceiverFailureTest, EveryEpochEndsOnceAndFreesItsBlocksOnce) {
  constexpr uint64_t kEpochs = 150;
  std::mt19937 random(20240229);
  std::map<uint64_t, int> returned;  // how often the epoch's blocks came back
  std::map<uint64_t, int> ended;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    Ask("r" + std::to_string(epoch), epoch, {int32_t(epoch % 60)}, {&a_, &b_});
    bool last = false;
    bool refetched = false;
    const std::vector<FakePrefillPeer*> peers = {&a_, &b_};
    for (size_t next = 0; next < peers.size() && !last;) {
      FakePrefillPeer* peer = peers[next++];
      auto call = peer->NextCall();
      ASSERT_NE(call, nullptr);
      if (random() % 4 == 0) {
        receiver_->OnSequenceEnded({RequestId("r" + std::to_string(epoch)), 0});
        last = true;  // nobody is asked after this one
      }
      switch (random() % 4) {
        case 0:
          Serve(*peer, *call, static_cast<uint8_t>(epoch));
          last = true;
          break;
        case 1:
          call->End(absl::ResourceExhaustedError("queue full"), true);
          break;
        case 2:
          call->Break();
          last = true;
          break;
        default:
          if (!std::exchange(refetched, true)) --next;
          call->Send(FinishedOf(call->request(), 0xff));  // of bytes that were never put
          call->End(absl::OkStatus(), true);
          break;
      }
    }
  }
  for (uint64_t over = 0; over < kEpochs;) {
    const auto command = posts_.Next();
    ASSERT_TRUE(command) << over << " epochs are over";
    if (const auto* arrived = std::get_if<KvArrived>(&*command)) {
      ++ended[arrived->epoch];
      over += ++returned[arrived->epoch] == 1;
    } else if (const auto* failed = std::get_if<KvFailed>(&*command)) {
      ++ended[failed->epoch];
      if (failed->fenced) over += ++returned[failed->epoch] == 1;
    } else {
      const uint64_t epoch = std::get<KvFenced>(*command).epoch;
      EXPECT_EQ(ended[epoch], 1) << "fenced before it failed";
      over += ++returned[epoch] == 1;
    }
  }
  ExpectQuiet();
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    EXPECT_EQ(ended[epoch], 1) << epoch;
    EXPECT_EQ(returned[epoch], 1) << epoch;
  }
}

}  // namespace
}  // namespace baton::handover
