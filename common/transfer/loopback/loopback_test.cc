// What the transport contract says, under the faults that the fabric makes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/transfer/loopback/loopback_transport.h"

namespace baton::transfer {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);  // only a failing test waits so long

// The end of one PutAll.
class Outcome {
 public:
  std::function<void(absl::Status)> Callback() {
    return [state = state_](absl::Status status) {
      CHECK(!state->done.HasBeenNotified(), "done ran twice");
      state->status = std::move(status);
      state->done.Notify();
    };
  }
  bool ended() const { return state_->done.HasBeenNotified(); }
  // UNKNOWN when it does not end in time.
  absl::Status Await() const {
    if (!state_->done.WaitForNotificationWithTimeout(kPatience)) {
      return absl::UnknownError("never ended");
    }
    return state_->status;
  }
  absl::StatusCode AwaitCode() const { return Await().code(); }

 private:
  struct State {
    absl::Notification done;
    absl::Status status;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // outlives a callback that never runs
};

class LoopbackTest : public ::testing::Test {
 protected:
  static constexpr size_t kPiece = 64;
  static constexpr size_t kPieces = 8;

  LoopbackTest() {
    auto region = reader_->AllocateRegion(kPiece * kPieces);
    CHECK_OK(region.status());
    region_ = *std::move(region);
    peer_ = *writer_->Connect(reader_->local_address());
  }
  ~LoopbackTest() override { fabric_.Resume(); }

  // Puts pieces 0 … count - 1 of the region.
  Outcome Put(LoopbackTransport& writer, size_t count) {
    std::vector<transfer::Put> puts;
    for (size_t i = 0; i < count; ++i) {
      puts.push_back({source_.data(), kPiece, region_.address + i * kPiece});
    }
    Outcome outcome;
    writer.PutAll(*writer.Connect(reader_->local_address()), region_.remote_key, std::move(puts),
                  outcome.Callback());
    return outcome;
  }
  // How many pieces have landed, counted from the first; each lands whole.
  size_t Landed() const {
    size_t pieces = 0;
    for (; pieces < kPieces && region_.data[pieces * kPiece] == std::byte{1}; ++pieces) {
      for (size_t i = 0; i < kPiece; ++i)
        EXPECT_EQ(region_.data[pieces * kPiece + i], std::byte{1});
    }
    for (size_t i = pieces * kPiece; i < region_.bytes; ++i) {
      EXPECT_EQ(region_.data[i], std::byte{0}) << "byte " << i << " past piece " << pieces;
    }
    return pieces;
  }

  LoopbackFabric fabric_;
  const std::vector<std::byte> source_ = std::vector<std::byte>(kPiece, std::byte{1});
  std::unique_ptr<LoopbackTransport> writer_ = std::make_unique<LoopbackTransport>(fabric_);
  std::unique_ptr<LoopbackTransport> reader_ = std::make_unique<LoopbackTransport>(fabric_);
  Region region_;
  PeerHandle peer_ = 0;
};

TEST_F(LoopbackTest, APausedTransferStopsAtThePieceAskedForAndEndsAfterResume) {
  fabric_.Pause(/*after_pieces=*/3);
  const Outcome outcome = Put(*writer_, kPieces);
  fabric_.AwaitHeldTransfer();
  EXPECT_EQ(Landed(), 3u);
  EXPECT_FALSE(outcome.ended());
  fabric_.Resume();
  EXPECT_TRUE(outcome.Await().ok());
  EXPECT_EQ(Landed(), kPieces);
}

TEST_F(LoopbackTest, NothingIsHeldWhileThePiecesThatMayPassPass) {
  fabric_.Pause(/*after_pieces=*/kPieces);
  EXPECT_TRUE(Put(*writer_, kPieces).Await().ok()) << "all of it was allowed";
  fabric_.Pause(0);
  const Outcome held = Put(*writer_, 1);
  fabric_.AwaitHeldTransfer();
  EXPECT_FALSE(held.ended());
}

TEST_F(LoopbackTest, AKilledWriterStopsWhereItIsAndItsCallbacksNeverRun) {
  fabric_.Pause(/*after_pieces=*/2);
  const Outcome first = Put(*writer_, kPieces);
  const Outcome queued = Put(*writer_, kPieces);
  fabric_.AwaitHeldTransfer();
  const PeerAddress address = writer_->local_address();
  EXPECT_EQ(reader_->Probe(address), PeerState::kAlive);
  fabric_.Kill(address);
  EXPECT_EQ(reader_->Probe(address), PeerState::kGone);
  fabric_.Resume();
  writer_.reset();  // its thread has done all it will ever do
  EXPECT_EQ(Landed(), 2u) << "kGone promised that nothing more lands";
  EXPECT_FALSE(first.ended());
  EXPECT_FALSE(queued.ended());
}

TEST_F(LoopbackTest, DeathBetweenTheGateAndTheCopyStopsTheCopy) {
  absl::Notification killed;
  fabric_.SetFault([&](const PeerAddress& from, const PeerAddress&) {
    fabric_.Kill(from);
    killed.Notify();
    EXPECT_EQ(reader_->Probe(from), PeerState::kGone);
    return absl::OkStatus();
  });
  const Outcome outcome = Put(*writer_, 1);
  killed.WaitForNotification();
  writer_.reset();
  EXPECT_EQ(Landed(), 0u) << "the piece was past the gate, and is not written all the same";
  EXPECT_FALSE(outcome.ended());
}

TEST_F(LoopbackTest, WritingToAKilledReaderFailsAndWritersToOthersGoOn) {
  LoopbackTransport other(fabric_);
  const Region elsewhere = *other.AllocateRegion(kPiece);
  fabric_.Pause(/*after_pieces=*/2);
  const Outcome outcome = Put(*writer_, kPieces);
  fabric_.AwaitHeldTransfer();
  fabric_.Kill(reader_->local_address());
  EXPECT_EQ(outcome.AwaitCode(), absl::StatusCode::kUnavailable) << outcome.Await();
  EXPECT_EQ(Landed(), 2u);
  fabric_.Resume();
  Outcome survivor;
  writer_->PutAll(*writer_->Connect(other.local_address()), elsewhere.remote_key,
                  {{source_.data(), kPiece, elsewhere.address}}, survivor.Callback());
  EXPECT_TRUE(survivor.Await().ok());
  EXPECT_EQ(Put(*writer_, 1).AwaitCode(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(writer_->Probe(other.local_address()), PeerState::kAlive);
}

TEST_F(LoopbackTest, NoByteLandsAfterAFaultHasEndedTheTransfer) {
  int asked = 0;  // the transfer thread's
  fabric_.SetFault([&](const PeerAddress& from, const PeerAddress& to) {
    EXPECT_EQ(from.worker, writer_->local_address().worker);
    EXPECT_EQ(to.worker, reader_->local_address().worker);
    return ++asked == 4 ? absl::DataLossError("the cable") : absl::OkStatus();
  });
  const Outcome outcome = Put(*writer_, kPieces);
  EXPECT_EQ(outcome.AwaitCode(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Landed(), 3u);
  fabric_.SetFault(nullptr);
  EXPECT_TRUE(Put(*writer_, kPieces).Await().ok()) << "the next call is another one";
  EXPECT_EQ(writer_->counters().puts_failed, 1u);
  EXPECT_EQ(writer_->counters().puts, kPieces);
  EXPECT_EQ(writer_->counters().bytes_put, kPieces * kPiece);
}

TEST_F(LoopbackTest, DisconnectEndsATransferThatIsHeldAndNothingOfItLandsLater) {
  fabric_.Pause(/*after_pieces=*/1);
  const Outcome held = Put(*writer_, kPieces);
  const Outcome queued = Put(*writer_, kPieces);
  fabric_.AwaitHeldTransfer();
  writer_->Disconnect(peer_);
  EXPECT_EQ(held.AwaitCode(), absl::StatusCode::kCancelled) << held.Await();
  EXPECT_FALSE(queued.Await().ok());
  fabric_.Resume();
  EXPECT_EQ(Landed(), 1u);
  EXPECT_TRUE(Put(*writer_, kPieces).Await().ok()) << "connected anew";
}

TEST_F(LoopbackTest, DestroyingAHeldWriterCancelsWhatItWasAbout) {
  fabric_.Pause();
  const Outcome held = Put(*writer_, kPieces);
  const Outcome queued = Put(*writer_, kPieces);
  fabric_.AwaitHeldTransfer();
  writer_.reset();
  EXPECT_TRUE(held.ended() && queued.ended()) << "every done has run by then";
  EXPECT_EQ(held.AwaitCode(), absl::StatusCode::kCancelled);
  EXPECT_EQ(queued.AwaitCode(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Landed(), 0u);
}

TEST_F(LoopbackTest, AHeldTransferHoldsUpNoOtherWriter) {
  LoopbackTransport second(fabric_);
  fabric_.SetFault([&](const PeerAddress& from, const PeerAddress&) {
    return from.worker == second.local_address().worker ? absl::OkStatus()
                                                        : Unavailable("only the second one");
  });
  EXPECT_EQ(Put(*writer_, 2).AwaitCode(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Put(second, kPieces).Await().ok());
  fabric_.SetFault(nullptr);
  fabric_.Pause(/*after_pieces=*/0);
  const Outcome first = Put(*writer_, 1);
  const Outcome other = Put(second, 1);
  fabric_.AwaitHeldTransfer();
  second.Disconnect(*second.Connect(reader_->local_address()));
  EXPECT_FALSE(other.Await().ok());
  EXPECT_FALSE(first.ended());
}

// Whatever is paused, killed or lost, a call that ends well has landed whole, one that fails stays
// as it was when its done ran, and every call of a living writer ends.
TEST_F(LoopbackTest, UnderSeededFaultsDoneTellsTheTruth) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    LoopbackFabric fabric;
    LoopbackTransport reader(fabric);
    constexpr int kWriters = 3;
    constexpr size_t kShare = kPiece * kPieces;
    const Region region = *reader.AllocateRegion(kWriters * kShare);
    std::vector<std::unique_ptr<LoopbackTransport>> writers;
    std::vector<Outcome> outcomes(kWriters);
    std::vector<std::vector<std::byte>> at_done(kWriters);
    fabric.Pause(random() % (kWriters * kPieces));
    auto losses = std::make_shared<std::atomic<uint32_t>>(random());
    fabric.SetFault([losses](const PeerAddress&, const PeerAddress&) {
      const uint32_t draw = losses->fetch_add(2654435761u);
      return draw % 16 == 0 ? Unavailable("lost") : absl::OkStatus();
    });
    for (int w = 0; w < kWriters; ++w) {
      writers.push_back(std::make_unique<LoopbackTransport>(fabric));
      std::vector<transfer::Put> puts;
      for (size_t i = 0; i < kPieces; ++i) {
        puts.push_back({source_.data(), kPiece, region.address + w * kShare + i * kPiece});
      }
      const std::byte* share = region.data + w * kShare;
      writers[w]->PutAll(*writers[w]->Connect(reader.local_address()), region.remote_key,
                         std::move(puts),
                         [callback = outcomes[w].Callback(), &at_done, w, share](auto status) {
                           at_done[w].assign(share, share + kShare);
                           callback(std::move(status));
                         });
    }
    const int killed = static_cast<int>(random() % (kWriters + 1));  // or nobody
    if (killed < kWriters) fabric.Kill(writers[killed]->local_address());
    fabric.Resume();
    for (int w = 0; w < kWriters; ++w) {
      if (w == killed) continue;
      const absl::Status status = outcomes[w].Await();
      ASSERT_NE(status.code(), absl::StatusCode::kUnknown) << "seed " << seed << " writer " << w;
      const bool whole = std::all_of(at_done[w].begin(), at_done[w].end(),
                                     [](std::byte b) { return b == std::byte{1}; });
      EXPECT_EQ(whole, status.ok()) << "seed " << seed << " writer " << w << " " << status;
    }
    writers.clear();
    for (int w = 0; w < kWriters; ++w) {
      if (w == killed && !outcomes[w].ended()) continue;
      EXPECT_TRUE(std::equal(at_done[w].begin(), at_done[w].end(), region.data + w * kShare))
          << "a byte landed after done, seed " << seed << " writer " << w;
    }
  }
}

}  // namespace
}  // namespace baton::transfer
