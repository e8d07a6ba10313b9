#include <gtest/gtest.h>

#include "common/handover/testing/receiver_fixture.h"

namespace baton::handover {
namespace {

using ReceiverTest = ReceiverFixture;

TEST_F(ReceiverTest, TheRequestNamesTheSequenceTheBlocksAndThisWorker) {
  receiver_->SetTargets(RequestId("r"), {a_.target()});
  receiver_->OnPrefillNeeded(Needed("r", 900, {5, 3}, /*first_block=*/2));
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  const v1::PrefillRequest& request = call->request();
  EXPECT_EQ(request.sequence().request_id(), "r");
  EXPECT_EQ(request.sequence().prompt_size(), 4 * kBlockTokens);
  EXPECT_EQ(request.caller(), "decode-0@1");
  EXPECT_EQ(request.worker_id(), "prefill-a");
  EXPECT_EQ(request.fingerprint(), "weights-1");
  EXPECT_EQ(request.first_block(), 2);
  EXPECT_EQ(std::vector<int32_t>(request.blocks().begin(), request.blocks().end()),
            (std::vector<int32_t>{5, 3}));
  EXPECT_TRUE(ReadDestination(request, pool_).ok());
}

TEST_F(ReceiverTest, VerifiedKvIsDeliveredWithItsFirstTokenAndItsBill) {
  clock_.Stop();
  Ask("r", 900, {5, 3}, {&a_});
  EXPECT_EQ(receiver_->active(), 1);
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  clock_.Advance(absl::Seconds(2));
  Serve(a_, *call, 0xab);
  ExpectArrived(900);
  EXPECT_TRUE(Holds(5, 0xab) && Holds(3, 0xab));

  const Delivery delivery = receiver_->DeliveryOf({RequestId("r"), 0});
  EXPECT_EQ(delivery.prefill_worker, "prefill-a");
  EXPECT_EQ(delivery.bytes, 2 * pool_.block_bytes());
  EXPECT_EQ(delivery.exposed, absl::Milliseconds(3));
  EXPECT_DOUBLE_EQ(delivery.times.took_ms(), 2000);
  EXPECT_DOUBLE_EQ(delivery.times.told().exposed_ms(), 3);
  EXPECT_FALSE(delivery.times.told().has_first()) << "nobody needs it there";
  EXPECT_EQ(delivery.times.told().checksums_size(), 0);
  EXPECT_EQ(receiver_->DeliveryOf({RequestId("r"), 1}).prefill_worker, "") << "prefilled here";
  const Receiver::Counters counters = receiver_->counters();
  EXPECT_EQ(counters.completed, 1u);
  EXPECT_EQ(counters.failed, 0u);
  EXPECT_EQ(counters.bytes, 2 * pool_.block_bytes());
  EXPECT_DOUBLE_EQ(counters.seconds, 2.0);
  ExpectQuiet();
}

TEST_F(ReceiverTest, ACompletionSaidTwiceIsDeliveredOnce) {
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  BeginPut(a_, call->request(), 1)->WaitForNotification();
  call->Send(FinishedOf(call->request(), 1));
  call->Send(FinishedOf(call->request(), 1));
  EXPECT_EQ(posts_.untaken(), 0u) << "the call has not ended: its status decides";
  call->End(absl::OkStatus(), true);
  ExpectArrived(900);
  EXPECT_EQ(receiver_->counters().completed, 1u);
  ExpectQuiet();
}

TEST_F(ReceiverTest, AResultWhoseCallFailsIsNoResult) {
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  call->Send(FinishedOf(call->request(), 1));
  call->End(absl::InternalError("after all not"), true);
  ExpectFailed("r", 900, true);
  ExpectQuiet();
}

TEST_F(ReceiverTest, ACallThatEndsWellWithoutAResultIsAFailure) {
  Make({.checksums = false});  // which would miss it, too
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  call->End(absl::OkStatus(), true);
  ExpectFailed("r", 900, true);
  EXPECT_EQ(receiver_->counters().failed, 1u);
  ExpectQuiet();
}

TEST_F(ReceiverTest, WrongBytesAreAskedForOnceMore) {
  Ask("r", 900, {5, 3}, {&a_, &b_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  ServeWrongly(a_, *call);
  auto again = a_.NextCall();
  ASSERT_NE(again, nullptr);
  EXPECT_NE(again->request().epoch(), call->request().epoch());
  Serve(a_, *again, 2);
  ExpectArrived(900);
  EXPECT_TRUE(Holds(5, 2) && Holds(3, 2));
  EXPECT_EQ(receiver_->counters().checksum_mismatches, 1u);
  EXPECT_EQ(b_.calls(), 0);
  ExpectQuiet();
}

TEST_F(ReceiverTest, AWorkerThatIsWrongAgainIsPassedOver) {
  Ask("r", 900, {5, 3}, {&a_, &b_});
  for (int i = 0; i < 2; ++i) {
    auto call = a_.NextCall();
    ASSERT_NE(call, nullptr);
    ServeWrongly(a_, *call);
  }
  auto second = b_.NextCall();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(posts_.untaken(), 0u) << "the engine hears of the end only";
  Serve(b_, *second, 2);
  ExpectArrived(900);
  EXPECT_EQ(receiver_->DeliveryOf({RequestId("r"), 0}).prefill_worker, "prefill-b");
  EXPECT_EQ(receiver_->counters().checksum_mismatches, 2u);
  EXPECT_EQ(receiver_->counters().failed, 2u);
  ExpectQuiet();
}

TEST_F(ReceiverTest, MissingChecksumsAreNotTakenForGoodOnes) {
  for (const bool whole_block : {true, false}) {
    const uint64_t epoch = whole_block ? 900 : 901;
    Ask("r", epoch, {5, 3}, {&a_});
    auto call = a_.NextCall();
    ASSERT_NE(call, nullptr);
    BeginPut(a_, call->request(), 1)->WaitForNotification();
    v1::PrefillEvent event = FinishedOf(call->request(), 1);
    auto& sums = *event.mutable_finished()->mutable_checksums();
    if (whole_block) {
      sums.RemoveLast();
    } else {
      sums[1].mutable_layers()->RemoveLast();
    }
    call->Send(event);
    call->End(absl::OkStatus(), true);
    if (!whole_block) {  // taken for wrong bytes
      auto again = a_.NextCall();
      ASSERT_NE(again, nullptr);
      again->End(absl::UnavailableError("no more"), true);
    }
    ExpectFailed("r", epoch, true);
  }
  ExpectQuiet();
}

TEST_F(ReceiverTest, WithChecksumsOffNoneAreAskedFor) {
  Make({.checksums = false});
  Ask("r", 900, {5}, {&a_});
  auto call = a_.NextCall();
  ASSERT_NE(call, nullptr);
  v1::PrefillEvent event = FinishedOf(call->request(), 1);
  event.mutable_finished()->clear_checksums();
  call->Send(event);
  call->End(absl::OkStatus(), true);
  ExpectArrived(900);
  ExpectQuiet();
}

}  // namespace
}  // namespace baton::handover
