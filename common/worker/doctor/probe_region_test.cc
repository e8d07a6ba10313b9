#include "common/worker/doctor/probe_region.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/transfer/loopback/loopback_transport.h"

namespace baton::worker {
namespace {

using ::testing::HasSubstr;

class ProbeRegionTest : public ::testing::Test {
 protected:
  v1::SettleProbeRegionRequest Settlement(uint64_t loan, uint64_t bytes) const {
    v1::SettleProbeRegionRequest request;
    request.set_loan(loan);
    request.set_bytes(bytes);
    request.set_checksum(ProbeChecksum(region_->memory().first(bytes)));
    return request;
  }

  transfer::LoopbackFabric fabric_;
  transfer::LoopbackTransport transport_{fabric_};
  ManualClock clock_;
  std::unique_ptr<ProbeRegion> region_ = *ProbeRegion::Allocate(transport_, clock_);
};

TEST_F(ProbeRegionTest, OneBorrowerAtATimeUntilItSettlesOrTheLeaseIsOver) {
  const auto loan = region_->Lend("prefill-0");
  ASSERT_TRUE(loan.ok()) << loan.status();
  EXPECT_EQ(loan->bytes(), ProbeRegion::kBytes);
  const auto second = region_->Lend("prefill-1");
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(second.status().message(), HasSubstr("prefill-0"));

  EXPECT_EQ(*region_->Settle(Settlement(loan->loan(), 100)), true);
  EXPECT_TRUE(region_->Lend("prefill-1").ok());
  EXPECT_FALSE(region_->Lend("prefill-0").ok());
  clock_.Advance(ProbeRegion::kLease);
  EXPECT_TRUE(region_->Lend("prefill-0").ok());
}

TEST_F(ProbeRegionTest, OtherBytesThanWereSentAreSeen) {
  const auto loan = region_->Lend("prefill-0");
  const v1::SettleProbeRegionRequest settlement = Settlement(loan->loan(), 4096);
  region_->memory()[4095] ^= std::byte{1};
  EXPECT_EQ(*region_->Settle(settlement), false);
}

TEST_F(ProbeRegionTest, ALoanThatIsOverIsNotSettled) {
  const auto loan = region_->Lend("prefill-0");
  clock_.Advance(ProbeRegion::kLease);
  EXPECT_EQ(region_->Settle(Settlement(loan->loan(), 1)).status().code(),
            absl::StatusCode::kNotFound);
  const auto next = region_->Lend("prefill-0");
  EXPECT_EQ(region_->Settle(Settlement(loan->loan(), 1)).status().code(),
            absl::StatusCode::kNotFound);
  v1::SettleProbeRegionRequest too_long = Settlement(next->loan(), 1);
  too_long.set_bytes(ProbeRegion::kBytes + 1);
  EXPECT_EQ(region_->Settle(too_long).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton::worker
