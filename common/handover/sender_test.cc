#include "common/handover/sender.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/base/check.h"
#include "kernels/checksum.h"

namespace baton::handover {
namespace {

// Takes puts and completes them when the test says so.
class ManualTransport : public transfer::Transport {
 public:
  struct Call {
    std::vector<transfer::Put> puts;
    std::function<void(absl::Status)> done;
  };
  std::vector<Call> calls;

  absl::StatusOr<transfer::Region> AllocateRegion(size_t) override {
    return Unimplemented("no regions");
  }
  transfer::PeerAddress local_address() const override { return {}; }
  absl::StatusOr<transfer::PeerHandle> Connect(const transfer::PeerAddress&) override { return 1; }
  void Disconnect(transfer::PeerHandle) override {}
  void PutAll(transfer::PeerHandle, std::string, std::vector<transfer::Put> puts,
              std::function<void(absl::Status)> done) override {
    calls.push_back({std::move(puts), std::move(done)});
  }
  transfer::PeerState Probe(const transfer::PeerAddress&) const override {
    return transfer::PeerState::kAlive;
  }
  std::string PathTo(transfer::PeerHandle) const override { return "manual"; }
  Counters counters() const override { return {}; }
};

class SenderTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kEpoch = 5;
  static constexpr uint64_t kBase = 1 << 20;

  SenderTest() {
    pool_ = {.dtype = kernels::DType::kF32,
             .num_layers = 2,
             .num_blocks = 8,
             .block_tokens = 16,
             .num_kv_heads = 1,
             .head_dim = 4};
    memory_.resize(pool_.pool_bytes());
    for (size_t i = 0; i < memory_.size(); ++i) memory_[i] = std::byte(i * 7 + i / 256);
    pool_.base = memory_.data();
    sender_ = std::make_unique<Sender>(
        true, pool_, transport_,
        [this](engine::Command command) { posted_.push_back(std::move(command)); }, clock_);
    // The prompt's blocks 1 and 2 go to the destination's blocks 30 and 10 of 40.
    Destination to{.base_address = kBase,
                   .num_layers = 2,
                   .num_blocks = 40,
                   .block_layer_bytes = pool_.block_layer_bytes(),
                   .pieces = PlanReshard(LayoutOf(pool_), LayoutOf(pool_)),
                   .first_block = 1,
                   .blocks = {30, 10}};
    CHECK_OK(sender_->Begin(id_, kEpoch, std::move(to),
                            [this](auto result) { results_.push_back(std::move(result)); }));
  }

  void Ready(int32_t layer) {
    sender_->OnKvReady({.id = id_,
                        .epoch = kEpoch,
                        .layer = layer,
                        .first_block = 0,
                        .blocks = {BlockId(4), BlockId(2), BlockId(6)}});
  }
  void Computed(absl::Status status = absl::OkStatus()) {
    sender_->OnPrefillDone({.id = id_, .epoch = kEpoch, .status = status, .first = {.token = 77}});
  }
  template <typename C>
  int Posted() const {
    int count = 0;
    for (const auto& command : posted_) count += std::holds_alternative<C>(command);
    return count;
  }

  const SequenceId id_{RequestId("r"), 0};
  ManualClock clock_;
  kernels::KvView pool_;
  std::vector<std::byte> memory_;
  ManualTransport transport_;
  std::vector<engine::Command> posted_;
  std::vector<absl::StatusOr<SendResult>> results_;
  std::unique_ptr<Sender> sender_;
};

TEST_F(SenderTest, PutsEachMissingBlockWhereItBelongs) {
  Ready(1);
  ASSERT_EQ(transport_.calls.size(), 1u);
  const std::vector<transfer::Put>& puts = transport_.calls[0].puts;
  ASSERT_EQ(puts.size(), 2u) << "the prompt's first block is at the destination already";
  EXPECT_EQ(puts[0].source, pool_.piece(1, 2));
  EXPECT_EQ(puts[0].remote_address, kBase + (40 + 30) * pool_.block_layer_bytes());
  EXPECT_EQ(puts[1].source, pool_.piece(1, 6));
  EXPECT_EQ(puts[1].remote_address, kBase + (40 + 10) * pool_.block_layer_bytes());
  transport_.calls[0].done(absl::OkStatus());
  Computed();
}

TEST_F(SenderTest, EndsOnlyWhenTheLastPutHasCompleted) {
  Ready(0);
  Ready(1);
  Computed();
  transport_.calls[0].done(absl::OkStatus());
  EXPECT_TRUE(results_.empty());
  EXPECT_EQ(Posted<engine::KvSent>(), 0) << "the source blocks are still being read";
  clock_.Advance(absl::Milliseconds(3));
  transport_.calls[1].done(absl::OkStatus());
  ASSERT_EQ(results_.size(), 1u);
  ASSERT_TRUE(results_[0].ok());
  EXPECT_EQ(results_[0]->first.token, 77);
  EXPECT_EQ(results_[0]->bytes, 4 * pool_.block_layer_bytes());
  EXPECT_EQ(results_[0]->exposed, absl::Milliseconds(3));
  EXPECT_EQ(results_[0]->checksums[1][0],
            kernels::Checksum(pool_.piece(0, 6), pool_.block_layer_bytes()));
  EXPECT_EQ(Posted<engine::KvSent>(), 1);
  EXPECT_EQ(sender_->active(), 0);
}

TEST_F(SenderTest, TheWireIsTimedWhileAnyPutIsUnderWay) {
  clock_.Advance(absl::Milliseconds(10));
  Ready(0);
  clock_.Advance(absl::Milliseconds(2));
  Ready(1);  // beside the first one
  clock_.Advance(absl::Milliseconds(3));
  transport_.calls[0].done(absl::OkStatus());
  clock_.Advance(absl::Milliseconds(4));
  transport_.calls[1].done(absl::OkStatus());
  clock_.Advance(absl::Milliseconds(50));  // nothing is under way
  Ready(0);
  Computed();
  clock_.Advance(absl::Milliseconds(6));
  transport_.calls[2].done(absl::OkStatus());
  ASSERT_EQ(results_.size(), 1u);
  ASSERT_TRUE(results_[0].ok());
  const SendResult& result = *results_[0];
  EXPECT_EQ(result.puts, 3);
  EXPECT_EQ(result.first_put, absl::Milliseconds(10));
  EXPECT_EQ(result.last_put, absl::Milliseconds(75));
  EXPECT_EQ(result.wire, absl::Milliseconds(15));
  EXPECT_EQ(result.exposed, absl::Milliseconds(6));
}

TEST_F(SenderTest, AFailedPutStopsTheComputationAndEndsOnceWhenBothAreOver) {
  Ready(0);
  transport_.calls[0].done(Unavailable("peer is gone"));
  EXPECT_EQ(Posted<engine::Cancel>(), 1);
  Ready(1);
  EXPECT_EQ(transport_.calls.size(), 1u) << "nothing more is put after a failure";
  EXPECT_TRUE(results_.empty());
  Computed(absl::CancelledError("cancelled"));
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(results_[0].status())) << "the cause, not its consequence";
  EXPECT_EQ(Posted<engine::KvSent>(), 1);
}

TEST_F(SenderTest, StopWaitsForWhatIsUnderWay) {
  Ready(0);
  sender_->Stop(kEpoch, absl::CancelledError("fenced"));
  Computed(absl::CancelledError("cancelled"));
  EXPECT_TRUE(results_.empty()) << "a put may still land";
  transport_.calls[0].done(absl::OkStatus());
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_EQ(MessageOf(results_[0].status()), "fenced");
  sender_->Stop(kEpoch, absl::CancelledError("again"));  // over: ignored
  EXPECT_EQ(results_.size(), 1u);
}

TEST_F(SenderTest, AnAbandonedHandoverSaysNothing) {
  sender_->Abandon(kEpoch);
  Computed();
  EXPECT_TRUE(results_.empty());
  EXPECT_TRUE(posted_.empty());
  EXPECT_EQ(sender_->active(), 0);
}

}  // namespace
}  // namespace baton::handover
