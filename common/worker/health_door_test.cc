#include "common/worker/health_door.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/time/clock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace baton::worker {
namespace {

constexpr absl::Duration kStall = absl::Seconds(60);

// Turned by the test while the door's own thread looks at it.
class SharedClock : public Clock {
 public:
  absl::Duration Monotonic() const override { return absl::Seconds(seconds.load()); }
  absl::Time Wall() const override { return absl::UnixEpoch() + Monotonic(); }

  std::atomic<int> seconds = 1000;
};

class HealthDoorTest : public testing::Test {
 protected:
  void SetUp() override {
    auto door = HealthDoor::Open({"127.0.0.1", 0}, kStall, clock_);
    ASSERT_TRUE(door.ok()) << door.status();
    door_ = *std::move(door);
    channel_ = grpc::CreateChannel(door_->address(), grpc::InsecureChannelCredentials());
  }

  // As a kubelet asks. The messages are small enough to be written by hand.
  bool Serving(const std::string& service) {
    grpc::GenericStub stub(channel_);
    const std::string asks =
        service.empty() ? "" : "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    const grpc::Slice slice(asks);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer answer;
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::Status status;
    const auto call =
        stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    call->StartCall();
    call->Finish(&answer, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice said;
    EXPECT_TRUE(answer.DumpToSingleSlice(&said).ok());
    return std::string(reinterpret_cast<const char*>(said.begin()), said.size()) == "\x08\x01";
  }
  bool Within(absl::Duration patience, bool wanted) {
    const absl::Time until = absl::Now() + patience;
    while (Serving(kLiveness) != wanted && absl::Now() < until)
      absl::SleepFor(absl::Milliseconds(10));
    return Serving(kLiveness) == wanted;
  }

  SharedClock clock_;
  std::unique_ptr<HealthDoor> door_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(HealthDoorTest, AStartIsAliveAndNotReady) {
  EXPECT_TRUE(Serving(kLiveness));
  EXPECT_FALSE(Serving(""));
}

TEST_F(HealthDoorTest, AStartIsAliveAsLongAsItComesFurtherHoweverLongItTakes) {
  for (int i = 0; i < 10; ++i) {
    clock_.seconds += 59;
    door_->NoteProgress();
    EXPECT_TRUE(Serving(kLiveness));
  }
}

TEST_F(HealthDoorTest, AStartThatStandsStillIsNotAliveUntilItGoesOn) {
  clock_.seconds += 61;
  EXPECT_TRUE(Within(absl::Seconds(20), false));
  door_->NoteProgress();
  EXPECT_TRUE(Within(absl::Seconds(20), true));
}

TEST_F(HealthDoorTest, AfterTheStartOnlyWhoServesSaysHowItIs) {
  door_->EndStart();
  door_->Set("", true);
  clock_.seconds += 3600;
  EXPECT_TRUE(Serving(""));
  EXPECT_TRUE(Serving(kLiveness));
  door_->Set(kLiveness, false);
  EXPECT_FALSE(Serving(kLiveness));
}

}  // namespace
}  // namespace baton::worker
