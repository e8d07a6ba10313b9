#include "common/worker/prefill_server.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/base/check.h"
#include "common/transfer/loopback/loopback_transport.h"

namespace baton::worker {
namespace {

class PrefillServerTest : public ::testing::Test {
 protected:
  PrefillServerTest() {
    pool_ = {.dtype = kernels::DType::kF32,
             .num_layers = 2,
             .num_blocks = 8,
             .block_tokens = 16,
             .num_kv_heads = 1,
             .head_dim = 4};
    auto region = transport_.AllocateRegion(pool_.pool_bytes());
    CHECK_OK(region.status());
    region_ = *std::move(region);
    pool_.base = region_.data;
    server_ = std::make_unique<PrefillServer>(Footing{.post =
                                                          [this](engine::Command command) {
                                                            posted_.push_back(std::move(command));
                                                            return absl::OkStatus();
                                                          },
                                                      .pool = pool_,
                                                      .transport = &transport_,
                                                      .worker_id = "prefill-0@2",
                                                      .fingerprint = "weights-1",
                                                      .vocab = 61},
                                              /*checksums=*/true, clock_);
  }

  v1::PrefillRequest Request(const std::string& worker_id) {
    v1::PrefillRequest request;
    request.set_worker_id(worker_id);
    request.set_caller("decode-0@1");
    request.set_epoch(17);
    request.set_fingerprint("weights-1");
    request.mutable_sequence()->set_request_id("r");
    for (int i = 0; i < 20; ++i) request.mutable_sequence()->add_prompt(i);
    *request.mutable_destination() =
        handover::DescribeRegion(region_, transport_.local_address(), pool_);
    request.add_blocks(1);
    request.add_blocks(2);
    return request;
  }
  absl::Status Begin(const std::string& worker_id) {
    return server_->Begin(Request(worker_id), [](const auto&) {}).status();
  }

  ManualClock clock_;
  transfer::LoopbackFabric fabric_;
  transfer::LoopbackTransport transport_{fabric_};
  transfer::Region region_;
  kernels::KvView pool_;
  std::vector<engine::Command> posted_;
  std::unique_ptr<PrefillServer> server_;
};

// The caller holds the dead one's process for what must not write any more.
TEST_F(PrefillServerTest, AnotherProcessAtADeadOnesAddressRefuses) {
  const absl::Status refused = Begin("prefill-0@1");
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(posted_.empty());
  EXPECT_TRUE(Begin("prefill-0@2").ok());
  EXPECT_EQ(posted_.size(), 1u);
}

TEST_F(PrefillServerTest, WhoeverListensIsMeantWhenNobodyIsNamed) {
  EXPECT_TRUE(Begin("").ok());
  EXPECT_EQ(posted_.size(), 1u);
}

}  // namespace
}  // namespace baton::worker
