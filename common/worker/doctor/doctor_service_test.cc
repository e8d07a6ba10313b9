#include "common/worker/doctor/doctor_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/transfer/loopback/loopback_transport.h"

namespace baton::worker {
namespace {

using ::testing::Each;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// One worker: its transport, its service, its server.
struct Patient {
  Patient(transfer::LoopbackFabric& fabric, std::string id, bool is_decode)
      : transport(fabric),
        service(*DoctorService::Create({.worker_id = std::move(id),
                                        .is_decode = is_decode,
                                        .protocol = 1,
                                        .fingerprint = "f",
                                        .transfer_path = "auto"},
                                       transport, Clock::Real())),
        server(*rpc::StartServer({.listen = "127.0.0.1:0"}, {service.get()})),
        stub(v1::Doctor::NewStub(rpc::PeerChannel(server.address))) {}

  transfer::LoopbackTransport transport;
  std::unique_ptr<DoctorService> service;
  rpc::Server server;
  std::unique_ptr<v1::Doctor::Stub> stub;
};

class DoctorServiceTest : public ::testing::Test {
 protected:
  grpc::Status Probe(const std::string& address, v1::PathReport* report) {
    grpc::ClientContext context;
    v1::ProbePathRequest request;
    request.set_decode_address(address);
    return prefill_.stub->ProbePath(&context, request, report);
  }

  transfer::LoopbackFabric fabric_;
  Patient prefill_{fabric_, "prefill-0", false};
  Patient decode_{fabric_, "decode-0", true};
};

TEST_F(DoctorServiceTest, AProbeTellsPathTimesAndThatTheBytesArrived) {
  v1::PathReport report;
  const grpc::Status status = Probe(decode_.server.address, &report);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(report.path(), "loopback");
  EXPECT_EQ(report.round_bytes(), ProbeRegion::kBytes);
  EXPECT_THAT(report.round_ms(), SizeIs(PathProber::kRounds));
  EXPECT_THAT(report.round_ms(), Each(Gt(0)));
  EXPECT_GT(report.round_trip_ms(), 0);
  EXPECT_TRUE(report.intact());
}

TEST_F(DoctorServiceTest, AProbeCanBeRepeatedAtOnce) {
  v1::PathReport report;
  ASSERT_TRUE(Probe(decode_.server.address, &report).ok());
  EXPECT_TRUE(Probe(decode_.server.address, &report).ok()) << "the loan was settled";
}

TEST_F(DoctorServiceTest, ADecodeWorkerThatIsNotThereIsAnErrorWithinItsBound) {
  const std::string address = decode_.server.address;
  decode_.server.server->Shutdown();
  v1::PathReport report;
  const absl::Duration began = Clock::Real().Monotonic();
  EXPECT_EQ(Probe(address, &report).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_LT(Clock::Real().Monotonic() - began, 2 * PathProber::kAnswerWithin);
}

TEST_F(DoctorServiceTest, APeerThatDiesInTheMiddleIsAnError) {
  fabric_.Kill(decode_.transport.local_address());
  v1::PathReport report;
  EXPECT_FALSE(Probe(decode_.server.address, &report).ok());
}

TEST_F(DoctorServiceTest, ItSaysWhoItIsAndWhatTimeItHas) {
  grpc::ClientContext context;
  v1::Examination answer;
  const int64_t before = absl::ToUnixMicros(absl::Now());
  ASSERT_TRUE(decode_.stub->Examine(&context, {}, &answer).ok());
  EXPECT_EQ(answer.worker_id(), "decode-0");
  EXPECT_EQ(answer.fingerprint(), "f");
  EXPECT_FALSE(answer.version().empty());
  EXPECT_GE(answer.wall_clock_us(), before);
  EXPECT_LE(answer.wall_clock_us(), absl::ToUnixMicros(absl::Now()));
}

TEST_F(DoctorServiceTest, TheDeviceIsNotAskedForEveryAnswer) {
  ManualClock clock;
  int asked = 0;
  const auto service = *DoctorService::Create({.worker_id = "decode-1",
                                               .is_decode = true,
                                               .device =
                                                   [&asked] {
                                                     v1::ComputeDevice device;
                                                     device.set_kind("cuda");
                                                     device.set_gpus_present(++asked);
                                                     return device;
                                                   }},
                                              decode_.transport, clock);
  v1::Examination answer;
  for (int i = 0; i < 3; ++i) service->Examine(nullptr, nullptr, &answer);
  EXPECT_EQ(answer.device().gpus_present(), 1);
  clock.Advance(absl::Seconds(1));
  service->Examine(nullptr, nullptr, &answer);
  EXPECT_EQ(answer.device().gpus_present(), 2) << "what is free changes";
}

TEST_F(DoctorServiceTest, EachKindDoesItsOwnPart) {
  v1::PathReport report;
  EXPECT_THAT(Probe(prefill_.server.address, &report).error_message(), HasSubstr("prefill"));
  grpc::ClientContext context;
  EXPECT_EQ(decode_.stub->ProbePath(&context, {}, &report).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace baton::worker
