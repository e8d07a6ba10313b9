#include "common/handover/receiver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <random>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/concurrency/ticker.h"
#include "common/handover/grpc_prefill_peers.h"
#include "common/handover/testing/fake_prefill_peer.h"
#include "common/rpc/convert.h"
#include "kernels/checksum.h"

namespace baton::handover {
namespace {

using engine::KvArrived;
using engine::KvFailed;
using engine::KvFenced;

// What the receiver has told the engine, in order.
class Posts {
 public:
  void Add(engine::Command command) {
    absl::MutexLock lock(&mutex_);
    commands_.push_back(std::move(command));
  }
  // The next one not taken yet; nothing when none comes in time.
  std::optional<engine::Command> Next() {
    absl::MutexLock lock(&mutex_);
    const auto any = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !commands_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&any), kTestPatience)) return std::nullopt;
    engine::Command command = std::move(commands_.front());
    commands_.pop_front();
    return command;
  }
  template <typename C>
  std::optional<C> NextAs() {
    std::optional<engine::Command> command = Next();
    if (!command) return std::nullopt;
    if (auto* found = std::get_if<C>(&*command)) return std::move(*found);
    ADD_FAILURE() << "posted command number " << command->index() << " of the variant";
    return std::nullopt;
  }
  size_t untaken() const {
    absl::MutexLock lock(&mutex_);
    return commands_.size();
  }

 private:
  mutable absl::Mutex mutex_;
  std::deque<engine::Command> commands_ ABSL_GUARDED_BY(mutex_);
};

// Runs like the real one, until it is stopped; turned on by hand either way. Thread-safe.
class TurnedClock : public Clock {
 public:
  absl::Duration Monotonic() const override {
    const absl::Duration turned = absl::Nanoseconds(turned_.load());
    return stopped_ ? turned : Clock::Real().Monotonic() + turned;
  }
  absl::Time Wall() const override { return absl::UnixEpoch() + Monotonic(); }
  void Stop() {
    turned_ = absl::ToInt64Nanoseconds(Monotonic());
    stopped_ = true;
  }
  void Advance(absl::Duration by) { turned_ += absl::ToInt64Nanoseconds(by); }

 private:
  std::atomic<int64_t> turned_ = 0;
  std::atomic<bool> stopped_ = false;
};

// A decode worker's pool behind a loopback transport, and prefill workers turned by hand.
class ReceiverTest : public ::testing::Test {
 protected:
  static constexpr int32_t kBlockTokens = 16;
  static constexpr absl::Duration kLease = absl::Seconds(10);

  ReceiverTest() {
    pool_ = {.dtype = kernels::DType::kF32,
             .num_layers = 2,
             .num_blocks = 64,
             .block_tokens = kBlockTokens,
             .num_kv_heads = 1,
             .head_dim = 4};
    auto region = transport_.AllocateRegion(pool_.pool_bytes());
    CHECK_OK(region.status());
    region_ = *std::move(region);
    pool_.base = region_.data;
    Make({});
  }
  ~ReceiverTest() override {
    ticker_.reset();
    receiver_->Stop();  // before the peers: their ends are calls into it
    fabric_.Resume();
  }

  void Make(ReceiverOptions options) {
    ticker_.reset();
    options.caller = "decode-0@1";
    options.fingerprint = "weights-1";
    options.region = DescribeRegion(region_, transport_.local_address(), pool_);
    options.lease = kLease;
    receiver_ = std::make_unique<Receiver>(
        options, pool_, transport_, peers_,
        [this](engine::Command command) { posts_.Add(std::move(command)); }, clock_);
    ticker_ = std::make_unique<Ticker>(absl::Milliseconds(5),
                                       [this] { receiver_->Tick(clock_.Monotonic()); });
  }

  static engine::PrefillNeeded Needed(const std::string& request, uint64_t epoch,
                                      const std::vector<int32_t>& blocks, int32_t first_block = 0) {
    engine::PrefillNeeded needed{.epoch = epoch, .first_block = first_block};
    needed.spec.id = {RequestId(request), 0};
    needed.spec.prompt.assign(kBlockTokens * (first_block + blocks.size()), 7);
    needed.spec.sampling.seed = 1;
    for (int32_t block : blocks) needed.blocks.push_back(BlockId(block));
    return needed;
  }

  // Asks for the KV of a prompt in `blocks`, of these peers, best first.
  void Ask(const std::string& request, uint64_t epoch, const std::vector<int32_t>& blocks,
           const std::vector<FakePrefillPeer*>& peers) {
    std::vector<v1::PrefillTarget> targets;
    for (FakePrefillPeer* peer : peers) targets.push_back(peer->target());
    receiver_->SetTargets(RequestId(request), std::move(targets));
    receiver_->OnPrefillNeeded(Needed(request, epoch, blocks));
  }

  // Begins to put every layer of every block, all bytes `fill`; false from the future when it
  // failed.
  std::shared_ptr<absl::Notification> BeginPut(FakePrefillPeer& peer,
                                               const v1::PrefillRequest& request, uint8_t fill) {
    absl::StatusOr<Destination> to = ReadDestination(request, pool_);
    CHECK_OK(to.status());
    sources_.push_back(std::vector<std::byte>(pool_.block_layer_bytes(), std::byte{fill}));
    std::vector<transfer::Put> puts;
    for (int32_t layer = 0; layer < pool_.num_layers; ++layer) {
      for (size_t i = 0; i < to->blocks.size(); ++i) {
        puts.push_back({sources_.back().data(), sources_.back().size(),
                        to->AddressOf(layer, to->first_block + static_cast<int32_t>(i))});
      }
    }
    auto handle = peer.transport().Connect(to->peer);
    CHECK_OK(handle.status());
    auto done = std::make_shared<absl::Notification>();
    peer.transport().PutAll(*handle, to->remote_key, std::move(puts),
                            [done](const absl::Status&) { done->Notify(); });
    return done;
  }

  v1::PrefillEvent FinishedOf(const v1::PrefillRequest& request, uint8_t fill) const {
    const std::vector<std::byte> piece(pool_.block_layer_bytes(), std::byte{fill});
    v1::PrefillEvent event;
    v1::PrefillFinished& finished = *event.mutable_finished();
    finished.mutable_first()->set_token(42);
    for (int i = 0; i < request.blocks_size(); ++i) {
      v1::BlockChecksums& sums = *finished.add_checksums();
      for (int32_t layer = 0; layer < pool_.num_layers; ++layer) {
        sums.add_layers(kernels::Checksum(piece.data(), piece.size()));
      }
    }
    finished.set_bytes(request.blocks_size() * pool_.block_bytes());
    finished.set_exposed_ms(3);
    return event;
  }

  // All a good prefill worker does.
  void Serve(FakePrefillPeer& peer, FakePrefillCall& call, uint8_t fill) {
    BeginPut(peer, call.request(), fill)->WaitForNotification();
    call.Send(FinishedOf(call.request(), fill));
    call.End(absl::OkStatus(), true);
  }

  // All but the very last byte.
  void ServeWrongly(FakePrefillPeer& peer, FakePrefillCall& call) {
    BeginPut(peer, call.request(), 1)->WaitForNotification();
    const int32_t last = call.request().blocks(call.request().blocks_size() - 1);
    pool_.piece(1, last)[pool_.block_layer_bytes() - 1] ^= std::byte{1};
    call.Send(FinishedOf(call.request(), 1));
    call.End(absl::OkStatus(), true);
  }

  // Whether a block holds `fill` everywhere.
  bool Holds(int32_t block, uint8_t fill) const {
    for (int32_t layer = 0; layer < pool_.num_layers; ++layer) {
      const std::byte* piece = pool_.piece(layer, block);
      if (!std::all_of(piece, piece + pool_.block_layer_bytes(),
                       [&](std::byte b) { return b == std::byte{fill}; })) {
        return false;
      }
    }
    return true;
  }

  void ExpectFailed(const std::string& request, uint64_t epoch, bool fenced) {
    const auto failed = posts_.NextAs<KvFailed>();
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->id.request.value(), request);
    EXPECT_EQ(failed->epoch, epoch);
    EXPECT_EQ(failed->fenced, fenced) << failed->reason;
    EXPECT_FALSE(failed->reason.ok());
  }
  void ExpectFenced(uint64_t epoch) {
    const auto fenced = posts_.NextAs<KvFenced>();
    ASSERT_TRUE(fenced);
    EXPECT_EQ(fenced->epoch, epoch);
  }
  void ExpectArrived(uint64_t epoch) {
    const auto arrived = posts_.NextAs<KvArrived>();
    ASSERT_TRUE(arrived);
    EXPECT_EQ(arrived->epoch, epoch);
    EXPECT_EQ(arrived->first.token, 42);
  }
  // Everything is over and nothing was said twice.
  void ExpectQuiet() {
    receiver_->Stop();
    EXPECT_EQ(posts_.untaken(), 0u);
    EXPECT_EQ(receiver_->active(), 0);
  }

  transfer::LoopbackFabric fabric_;
  transfer::LoopbackTransport transport_{fabric_};
  transfer::Region region_;
  kernels::KvView pool_;
  TurnedClock clock_;
  Posts posts_;
  std::list<std::vector<std::byte>> sources_;  // of puts; live as long as the peers' threads
  FakePrefillPeer a_{fabric_, "prefill-a"};
  FakePrefillPeer b_{fabric_, "prefill-b"};
  GrpcPrefillPeers peers_;
  std::unique_ptr<Receiver> receiver_;
  std::unique_ptr<Ticker> ticker_;
};

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

TEST_F(ReceiverTest, ASilentWorkerLosesItsHandOverWhenItsLeaseIsOver) {
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

TEST_F(ReceiverTest, AWorkerThatSaysThatItGetsOnKeepsItsLease) {
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

TEST_F(ReceiverTest, WithNobodyToAskTheEngineIsToldAtOnce) {
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

TEST_F(ReceiverTest, ARefusalGoesToTheNextWorkerWithTheSameBlocksAndANewEpoch) {
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

TEST_F(ReceiverTest, WhenAllRefuseTheEngineGetsItsBlocksBack) {
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

TEST_F(ReceiverTest, AWriteOnItsWayKeepsTheBlocksQuarantinedUntilTheWriterAnswers) {
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

TEST_F(ReceiverTest, AWorkerKilledInMidTransferIsReplacedAtOnce) {
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

TEST_F(ReceiverTest, ADeathInDoubtEndsTheQuarantine) {
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

TEST_F(ReceiverTest, AnAnswerAfterTheTimeoutChangesNothing) {
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

TEST_F(ReceiverTest, AnAddressNobodyListensAtIsInDoubtUntilItsProcessIsKnownToBeGone) {
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

TEST_F(ReceiverTest, ASequenceThatEndsStopsItsPrefillAndAsksNobodyElse) {
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

TEST_F(ReceiverTest, ACancelledPrefillWhoseWorkerBreaksIsFencedAllTheSame) {
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

TEST_F(ReceiverTest, ACompletionThatCrossesTheCancelOnlyReturnsTheBlocks) {
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

TEST_F(ReceiverTest, StopEndsCallsThatNobodyAnswersAndPostsNothingAfterwards) {
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
TEST_F(ReceiverTest, EveryEpochEndsOnceAndFreesItsBlocksOnce) {
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
