#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/concurrency/ticker.h"
#include "common/handover/grpc_prefill_peers.h"
#include "common/handover/receiver.h"
#include "common/handover/testing/fake_prefill_peer.h"
#include "common/rpc/convert.h"
#include "kernels/checksum.h"

namespace baton::handover {

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
class ReceiverFixture : public ::testing::Test {
 protected:
  static constexpr int32_t kBlockTokens = 16;
  static constexpr absl::Duration kLease = absl::Seconds(10);

  ReceiverFixture() {
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
  ~ReceiverFixture() override {
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
                        to->AddressOf(0, layer, to->first_block + static_cast<int32_t>(i))});
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
    const auto failed = posts_.NextAs<engine::KvFailed>();
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->id.request.value(), request);
    EXPECT_EQ(failed->epoch, epoch);
    EXPECT_EQ(failed->fenced, fenced) << failed->reason;
    EXPECT_FALSE(failed->reason.ok());
  }
  void ExpectFenced(uint64_t epoch) {
    const auto fenced = posts_.NextAs<engine::KvFenced>();
    ASSERT_TRUE(fenced);
    EXPECT_EQ(fenced->epoch, epoch);
  }
  void ExpectArrived(uint64_t epoch) {
    const auto arrived = posts_.NextAs<engine::KvArrived>();
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

}  // namespace baton::handover
