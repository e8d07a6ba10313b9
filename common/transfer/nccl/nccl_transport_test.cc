// What NCCL makes different from one-sided puts: both sides take part, and neither learns from it
// that the other is gone. The contract itself is in transport_contract_test.cc.
#include "common/transfer/nccl/nccl_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/transfer/nccl/frames.h"
#include "common/transfer/nccl/testing/fake_links.h"

namespace baton::transfer {
namespace {

constexpr size_t kRegionBytes = 1 << 20;
constexpr size_t kPieceBytes = 4096;

class NcclTransportTest : public ::testing::Test {
 protected:
  std::unique_ptr<Transport> Make() {
    // Nothing here ends by time.
    auto made = NcclTransport::Create({.linger = absl::Minutes(10)}, nccl_.MakeLinks());
    CHECK_OK(made.status());
    return *std::move(made);
  }
  void SetUp() override {
    region_ = *reader_->AllocateRegion(kRegionBytes);
    peer_ = *writer_->Connect(reader_->local_address());
    source_.assign(kRegionBytes, std::byte{7});
  }
  // Sixteen pieces; how it ends.
  struct Ending {
    absl::Notification ended;
    absl::Status status;
  };
  std::shared_ptr<Ending> Put() {
    auto ending = std::make_shared<Ending>();
    std::vector<transfer::Put> puts;
    for (size_t i = 0; i < 16; ++i) {
      puts.push_back({source_.data(), kPieceBytes, region_.address + i * kPieceBytes});
    }
    writer_->PutAll(peer_, region_.remote_key, std::move(puts), [ending](absl::Status status) {
      ending->status = std::move(status);
      ending->ended.Notify();
    });
    return ending;
  }
  absl::Status PutAndWait() {
    const auto ending = Put();
    ending->ended.WaitForNotification();
    return ending->status;
  }
  size_t PiecesThere() const {
    size_t count = 0;
    for (size_t i = 0; i < 16; ++i) count += region_.data[i * kPieceBytes] == std::byte{7};
    return count;
  }
  // The address as "host/port/token".
  std::pair<std::string, int> WhereReaderListens() const {
    const std::string worker = reader_->local_address().worker;
    const size_t slash = worker.find('/');
    return {worker.substr(0, slash), std::stoi(worker.substr(slash + 1))};
  }

  testing::FakeNccl nccl_;
  std::unique_ptr<Transport> reader_ = Make();
  std::unique_ptr<Transport> writer_ = Make();
  Region region_;
  PeerHandle peer_ = 0;
  std::vector<std::byte> source_;
};

TEST_F(NcclTransportTest, DoneMeansReceivedNotSent) {
  nccl_.Hold(3);
  const auto ending = Put();
  nccl_.AwaitHeldPiece();
  EXPECT_FALSE(ending->ended.HasBeenNotified()) << "all is on its way, but has not landed";
  nccl_.Release();
  ending->ended.WaitForNotification();
  EXPECT_TRUE(ending->status.ok()) << ending->status;
  EXPECT_EQ(PiecesThere(), 16u);
}

TEST_F(NcclTransportTest, AfterADisconnectNothingLandsAnyMore) {
  nccl_.Hold(5);
  const auto ending = Put();
  nccl_.AwaitHeldPiece();
  writer_->Disconnect(peer_);
  ending->ended.WaitForNotification();
  EXPECT_EQ(ending->status.code(), absl::StatusCode::kCancelled) << ending->status;
  EXPECT_EQ(PiecesThere(), 5u);
  nccl_.Release();
  // The reader goes on working: whatever it could still take in it would take in now.
  peer_ = *writer_->Connect(reader_->local_address());
  const std::vector<std::byte> other(1, std::byte{9});
  absl::Notification over;
  writer_->PutAll(peer_, region_.remote_key,
                  {{other.data(), 1, region_.address + kRegionBytes - 1}},
                  [&](absl::Status status) {
                    EXPECT_TRUE(status.ok()) << status;
                    over.Notify();
                  });
  over.WaitForNotification();
  EXPECT_EQ(PiecesThere(), 5u) << "what was on its way has landed after its transfer had ended";
}

// Its side of the link takes in what is on its way, for as long as it has not been told to stop.
TEST_F(NcclTransportTest, AReaderThatHangsHoldsBackTheEnd) {
  nccl_.Freeze(5);
  const auto ending = Put();
  nccl_.AwaitHeldPiece();
  writer_->Disconnect(peer_);
  EXPECT_FALSE(ending->ended.WaitForNotificationWithTimeout(absl::Milliseconds(50)));
  EXPECT_EQ(PiecesThere(), 5u);
  nccl_.Release();
  ending->ended.WaitForNotification();
  EXPECT_EQ(ending->status.code(), absl::StatusCode::kCancelled) << ending->status;
  EXPECT_EQ(PiecesThere(), 16u) << "what the test is about: these have landed after all";
}

TEST_F(NcclTransportTest, AReaderThatIsLostEndsWhatIsUnderWayAndTheHandle) {
  nccl_.Hold();
  const auto ending = Put();
  nccl_.AwaitHeldPiece();
  reader_.reset();
  ending->ended.WaitForNotification();
  EXPECT_EQ(ending->status.code(), absl::StatusCode::kUnavailable) << ending->status;
  EXPECT_EQ(PutAndWait().code(), absl::StatusCode::kUnavailable);
  nccl_.Release();

  reader_ = Make();
  region_ = *reader_->AllocateRegion(kRegionBytes);
  peer_ = *writer_->Connect(reader_->local_address());
  EXPECT_TRUE(PutAndWait().ok());
}

TEST_F(NcclTransportTest, AWriterThatIsLostLeavesNoLinkBehind) {
  nccl_.Hold();
  const auto ending = Put();
  nccl_.AwaitHeldPiece();
  writer_.reset();
  ending->ended.WaitForNotification();
  while (nccl_.live_links() > 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(PiecesThere(), 0u);
}

TEST_F(NcclTransportTest, APeerThatCannotJoinIsAnError) {
  nccl_.RefuseToJoin();
  writer_->Disconnect(peer_);
  peer_ = *writer_->Connect(reader_->local_address());
  EXPECT_EQ(PutAndWait().code(), absl::StatusCode::kUnavailable);
}

TEST_F(NcclTransportTest, NobodyListensThere) {
  PeerAddress address = reader_->local_address();
  reader_.reset();
  peer_ = *writer_->Connect(address);
  EXPECT_EQ(PutAndWait().code(), absl::StatusCode::kUnavailable);
}

TEST_F(NcclTransportTest, AStrangerIsTurnedAwayAndDisturbsNobody) {
  const auto [host, port] = WhereReaderListens();
  const std::string hello = Frame{.kind = FrameKind::kHello, .text = "a guess"}.Pack();
  const std::string offer = Frame{.kind = FrameKind::kOffer, .text = region_.remote_key}.Pack();
  for (const std::string& said :
       {hello, offer, std::string("\xff"), std::string(), std::string(1000, 'x')}) {
    ControlSocket stranger = *ControlSocket::Dial(host, port);
    stranger.Send(said);
    while (!stranger.ended()) {
      EXPECT_TRUE(stranger.Advance().empty()) << "it is told nothing";
      if (stranger.broken()) break;
    }
  }
  EXPECT_TRUE(PutAndWait().ok());
}

TEST_F(NcclTransportTest, ManyPiecesGoInSeveralOffers) {
  std::vector<transfer::Put> puts;
  const size_t count = PutWriter::kOfferPiecesMax * 2 + 1;
  for (size_t i = 0; i < count; ++i) {
    puts.push_back({source_.data(), 1, region_.address + 3 * i});
  }
  absl::Notification over;
  writer_->PutAll(peer_, region_.remote_key, std::move(puts), [&](absl::Status status) {
    EXPECT_TRUE(status.ok()) << status;
    over.Notify();
  });
  over.WaitForNotification();
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(region_.data[3 * i], std::byte{7}) << i;
  EXPECT_EQ(region_.data[1], std::byte{0});
}

TEST(NcclFramesTest, WhatIsPackedIsUnpackedAndNothingElse) {
  const Frame frames[] = {
      {.kind = FrameKind::kHello, .text = "t", .host_id = "h", .process = {17, 42}},
      {.kind = FrameKind::kWelcome, .text = std::string(128, '\0')},
      {.kind = FrameKind::kOffer, .text = "key", .pieces = {{1, 2}, {~uint64_t{0}, 0}}},
      {.kind = FrameKind::kRefuse, .why = InvalidArgument("no")},
      {.kind = FrameKind::kReceived}};
  for (const Frame& frame : frames) {
    const std::string bytes = frame.Pack();
    const auto again = Frame::Unpack(bytes);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->Pack(), bytes);
    EXPECT_FALSE(Frame::Unpack(bytes + "x"));
  }
  const std::string hello = frames[0].Pack();
  for (size_t length = 0; length < hello.size(); ++length) {
    EXPECT_FALSE(Frame::Unpack(hello.substr(0, length))) << length;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string noise(random() % 60, '\0');
    for (char& byte : noise) byte = static_cast<char>(random() % 12);
    const auto frame = Frame::Unpack(noise);
    if (frame) {
      EXPECT_EQ(frame->Pack(), noise);
    }
  }
}

}  // namespace
}  // namespace baton::transfer
