// What every Transport promises, run over each of them by the same bodies.
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/transfer/loopback/loopback_transport.h"
#include "common/transfer/nccl/nccl_transport.h"
#include "common/transfer/nccl/testing/fake_links.h"
#include "common/transfer/process_identity.h"
#include "common/transfer/ucx/ucx_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::transfer {
namespace {

// What transports within one process meet in.
struct Fabrics {
  LoopbackFabric loopback;
  testing::FakeNccl nccl;
};

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Transport>(Fabrics&)> make;
  std::string path;
};

std::unique_ptr<Transport> MakeUcx(UcxTransports transports) {
  UcxOptions options;
  options.transports = transports;
  auto made = UcxTransport::Create(options);
  CHECK_OK(made.status());
  return *std::move(made);
}

std::unique_ptr<Transport> MakeNccl(testing::FakeNccl& nccl) {
  auto made = NcclTransport::Create({}, nccl.MakeLinks());
  CHECK_OK(made.status());
  return *std::move(made);
}

class TransportContractTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam().path == "tcp" && !NetworkSurvivesPeers().ok()) {
      GTEST_SKIP() << NetworkSurvivesPeers();
    }
    writer_ = GetParam().make(fabric_);
    reader_ = GetParam().make(fabric_);
    absl::StatusOr<Region> region = reader_->AllocateRegion(kRegionBytes);
    ASSERT_TRUE(region.ok()) << region.status();
    region_ = *region;
    absl::StatusOr<PeerHandle> peer = writer_->Connect(reader_->local_address());
    ASSERT_TRUE(peer.ok()) << peer.status();
    peer_ = *peer;
  }

  absl::Status PutAndWait(std::vector<Put> puts) {
    absl::Notification ended;
    absl::Status outcome;
    writer_->PutAll(peer_, region_.remote_key, std::move(puts), [&](absl::Status status) {
      outcome = status;
      ended.Notify();
    });
    ended.WaitForNotification();
    return outcome;
  }

  static constexpr size_t kRegionBytes = 24 << 20;
  Fabrics fabric_;
  std::unique_ptr<Transport> writer_;
  std::unique_ptr<Transport> reader_;
  Region region_;
  PeerHandle peer_ = 0;
};

std::vector<std::byte> RandomBytes(size_t bytes, uint64_t seed) {
  std::vector<std::byte> made(bytes);
  std::mt19937_64 random(seed);
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t word = random();
    std::memcpy(&made[i], &word, 8);
  }
  return made;
}

TEST_P(TransportContractTest, BytesAreVisibleWhenDoneRuns) {
  const std::vector<std::byte> source = RandomBytes(3 << 20, 1);
  ASSERT_TRUE(PutAndWait({{source.data(), source.size(), region_.address + 4096}}).ok());
  EXPECT_EQ(std::memcmp(region_.data + 4096, source.data(), source.size()), 0);
  EXPECT_EQ(region_.data[4095], std::byte{0});
  EXPECT_EQ(region_.data[4096 + source.size()], std::byte{0});
}

TEST_P(TransportContractTest, ScatteredPiecesLandWhereTheyAreSentAndNowhereElse) {
  std::vector<std::byte> model(kRegionBytes, std::byte{0});
  const std::vector<std::byte> source = RandomBytes(4 << 20, 2);
  std::mt19937 random(3);
  for (int round = 0; round < 8; ++round) {
    std::vector<Put> puts;
    size_t at = random() % 64;
    while (true) {  // pieces of 0 … 100 kB with gaps between them
      const size_t bytes = random() % 100000;
      if (at + bytes > kRegionBytes) break;
      const size_t from = random() % (source.size() - bytes);
      puts.push_back({source.data() + from, bytes, region_.address + at});
      std::memcpy(model.data() + at, source.data() + from, bytes);
      at += bytes + random() % 30000;
    }
    ASSERT_TRUE(PutAndWait(puts).ok());
    ASSERT_EQ(std::memcmp(region_.data, model.data(), kRegionBytes), 0) << "round " << round;
  }
}

TEST_P(TransportContractTest, CallsToOnePeerCompleteInOrder) {
  constexpr int kCalls = 300;
  const std::vector<std::byte> source = RandomBytes(1 << 20, 4);
  std::vector<int> order;  // the transfer thread's until `ended`
  absl::Notification ended;
  for (int call = 0; call < kCalls; ++call) {
    const size_t bytes = call % 3 == 0 ? source.size() : 64;
    writer_->PutAll(peer_, region_.remote_key, {{source.data(), bytes, region_.address}},
                    [&, call](absl::Status status) {
                      EXPECT_TRUE(status.ok()) << status;
                      order.push_back(call);
                      if (call == kCalls - 1) ended.Notify();
                    });
  }
  ended.WaitForNotification();
  std::vector<int> expected(kCalls);
  for (int i = 0; i < kCalls; ++i) expected[i] = i;
  EXPECT_EQ(order, expected);
}

TEST_P(TransportContractTest, LaterCallsOverwriteEarlierOnes) {
  for (int round = 0; round < 50; ++round) {
    const std::vector<std::byte> first(300000, std::byte{1});
    const std::vector<std::byte> second(300000, std::byte(round + 2));
    absl::Notification both;
    writer_->PutAll(peer_, region_.remote_key, {{first.data(), first.size(), region_.address}},
                    [](absl::Status) {});
    writer_->PutAll(peer_, region_.remote_key, {{second.data(), second.size(), region_.address}},
                    [&](absl::Status) { both.Notify(); });
    both.WaitForNotification();
    ASSERT_EQ(std::memcmp(region_.data, second.data(), second.size()), 0);
  }
}

TEST_P(TransportContractTest, AnEmptyCallIsDone) { EXPECT_TRUE(PutAndWait({}).ok()); }

TEST_P(TransportContractTest, APutThatLeavesTheRegionIsRefusedAndWritesNothing) {
  const std::vector<std::byte> source(4096, std::byte{7});
  const uint64_t end = region_.address + region_.bytes;
  for (const uint64_t address :
       {end - 4095, end, region_.address - 1, ~uint64_t{0} - 10, uint64_t{0}}) {
    const absl::Status status = PutAndWait({{source.data(), source.size(), address}});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(MessageOf(status), ::testing::HasSubstr("remote_address"));
  }
  EXPECT_EQ(region_.data[region_.bytes - 1], std::byte{0});
  EXPECT_TRUE(PutAndWait({{source.data(), source.size(), end - 4096}}).ok())
      << "the peer is still usable";
}

TEST_P(TransportContractTest, AForeignRemoteKeyIsRefused) {
  const std::vector<std::byte> source(64, std::byte{7});
  for (const std::string& key :
       {std::string(), std::string("nonsense"), region_.remote_key + "x"}) {
    absl::Notification ended;
    writer_->PutAll(peer_, key, {{source.data(), 64, region_.address}}, [&](absl::Status status) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(MessageOf(status), ::testing::HasSubstr("remote_key"));
      ended.Notify();
    });
    ended.WaitForNotification();
  }
  EXPECT_EQ(region_.data[0], std::byte{0});
}

TEST_P(TransportContractTest, ConnectingTwiceGivesOneHandle) {
  EXPECT_EQ(*writer_->Connect(reader_->local_address()), peer_);
  EXPECT_NE(peer_, 0u);
}

TEST_P(TransportContractTest, AnotherTransportsPeerIsRefused) {
  PeerAddress foreign = reader_->local_address();
  foreign.transport = "carrier pigeon";
  EXPECT_EQ(writer_->Connect(foreign).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(TransportContractTest, DisconnectEndsWhatIsUnderWayAndEveryDoneRuns) {
  const std::vector<std::byte> source = RandomBytes(1 << 20, 5);
  constexpr int kCalls = 200;
  std::atomic<int> ended = 0;
  absl::Notification all;
  for (int call = 0; call < kCalls; ++call) {
    writer_->PutAll(peer_, region_.remote_key,
                    std::vector<Put>(8, Put{source.data(), source.size(), region_.address}),
                    [&](absl::Status) {
                      if (++ended == kCalls) all.Notify();
                    });
  }
  writer_->Disconnect(peer_);
  all.WaitForNotification();
  EXPECT_FALSE(PutAndWait({{source.data(), 64, region_.address}}).ok()) << "the handle is dead";
  EXPECT_EQ(writer_->PathTo(peer_), "none");

  peer_ = *writer_->Connect(reader_->local_address());
  EXPECT_TRUE(PutAndWait({{source.data(), source.size(), region_.address}}).ok())
      << "connected anew";
}

TEST_P(TransportContractTest, DestroyingTheWriterRunsEveryDone) {
  const std::vector<std::byte> source = RandomBytes(1 << 20, 6);
  constexpr int kCalls = 100;
  std::atomic<int> ended = 0;
  for (int call = 0; call < kCalls; ++call) {
    writer_->PutAll(peer_, region_.remote_key,
                    std::vector<Put>(8, Put{source.data(), source.size(), region_.address}),
                    [&](absl::Status) { ++ended; });
  }
  writer_.reset();
  EXPECT_EQ(ended, kCalls);
}

TEST_P(TransportContractTest, OneReaderTakesManyWritersAtOnce) {
  constexpr int kWriters = 3;
  constexpr size_t kShare = 2 << 20;
  std::vector<std::unique_ptr<Transport>> writers;
  std::vector<std::vector<std::byte>> sources;
  std::atomic<int> ended = 0;
  absl::Notification all;
  for (int i = 0; i < kWriters; ++i) {
    writers.push_back(GetParam().make(fabric_));
    sources.push_back(RandomBytes(kShare, 100 + i));
    std::vector<Put> puts;
    for (size_t at = 0; at < kShare; at += 32768) {
      puts.push_back({sources[i].data() + at, 32768, region_.address + i * kShare + at});
    }
    writers[i]->PutAll(*writers[i]->Connect(reader_->local_address()), region_.remote_key, puts,
                       [&](absl::Status status) {
                         EXPECT_TRUE(status.ok()) << status;
                         if (++ended == kWriters) all.Notify();
                       });
  }
  all.WaitForNotification();
  for (int i = 0; i < kWriters; ++i) {
    EXPECT_EQ(std::memcmp(region_.data + i * kShare, sources[i].data(), kShare), 0)
        << "writer " << i;
  }
}

TEST_P(TransportContractTest, CountersAddUp) {
  const std::vector<std::byte> source(10000, std::byte{1});
  ASSERT_TRUE(
      PutAndWait({{source.data(), 10000, region_.address}, {source.data(), 1, region_.address}})
          .ok());
  ASSERT_FALSE(PutAndWait({{source.data(), 10000, 0}}).ok());
  const Transport::Counters counters = writer_->counters();
  EXPECT_EQ(counters.puts, 2u);
  EXPECT_EQ(counters.bytes_put, 10001u);
  EXPECT_EQ(counters.puts_failed, 1u);
  EXPECT_EQ(reader_->counters().puts, 0u);
}

TEST_P(TransportContractTest, ThePathAndTheLivingPeerAreKnown) {
  EXPECT_EQ(writer_->PathTo(peer_), GetParam().path);
  EXPECT_EQ(writer_->Probe(reader_->local_address()), PeerState::kAlive);
}

INSTANTIATE_TEST_SUITE_P(
    Transports, TransportContractTest,
    ::testing::Values(
        Kind{"Loopback",
             [](Fabrics& fabrics) { return std::make_unique<LoopbackTransport>(fabrics.loopback); },
             "loopback"},
        Kind{"Nccl", [](Fabrics& fabrics) { return MakeNccl(fabrics.nccl); }, "nccl"},
        Kind{"UcxSharedMemory", [](Fabrics&) { return MakeUcx(UcxTransports::kAuto); },
             "shared memory"},
        Kind{"UcxTcp", [](Fabrics&) { return MakeUcx(UcxTransports::kNetwork); }, "tcp"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace baton::transfer
