#include "services/cli/doctor/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/cli/doctor/doctor_report.h"
#include "services/cli/doctor/examiner.h"

namespace baton::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

WorkerPicture Worker(const std::string& id, bool is_decode) {
  return {.id = id,
          .is_decode = is_decode,
          .model = "m",
          .address = "h:1",
          .fingerprint = "abc/v2/P16",
          .version = "1.0.0",
          .host_id = "here",
          .token_fingerprint = "abc/P16/T1",
          .transfer_path = "auto"};
}

// A GPU that takes KV by itself.
v1::ComputeDevice Gpu() {
  v1::ComputeDevice device;
  device.set_kind("cuda");
  device.set_backend("cuda:sm90:warpgroups");
  device.set_driver_version("12.8");
  device.set_runtime_version("12.6");
  device.set_graphs(true);
  device.set_warpgroups(true);
  device.set_kv_access(v1::KV_ACCESS_DEVICE_POOL);
  device.set_gpus_present(1);
  v1::ComputeDevice::Rank& rank = *device.add_ranks();
  rank.set_name("NVIDIA H200");
  rank.set_index(0);
  rank.set_memory_bytes(uint64_t{140} << 30);
  rank.set_memory_bytes_free(uint64_t{12} << 30);
  return device;
}

auto Kind(const char* kind) { return Field("kind", &Finding::kind, kind); }
auto Subject(const char* text) { return Field("subject", &Finding::subject, HasSubstr(text)); }
auto What(const char* text) { return Field("what", &Finding::what, HasSubstr(text)); }
auto Advice(const char* text) { return Field("advice", &Finding::advice, HasSubstr(text)); }

// Two prefill and two decode workers, everything as it should be.
class FindingsTest : public ::testing::Test {
 protected:
  FindingsTest() {
    cluster_.router_version = "1.0.0";
    cluster_.workers = {Worker("p0", false), Worker("p1", false), Worker("d0", true),
                        Worker("d1", true)};
    for (const auto& [prefill, decode] : PathsOf(cluster_)) {
      cluster_.paths.push_back({.prefill = prefill,
                                .decode = decode,
                                .path = "shared memory",
                                .round_bytes = 4 << 20,
                                .round_ms = {0.5, 0.4, 0.6},
                                .round_trip_ms = 0.2});
    }
  }
  std::vector<Finding> Findings() { return FindingsOf(cluster_, "1.0.0", Thresholds()); }
  PathPicture& path(size_t prefill, size_t decode) {
    for (PathPicture& path : cluster_.paths) {
      if (path.prefill == prefill && path.decode == decode) return path;
    }
    return cluster_.paths.at(99);
  }

  ClusterPicture cluster_;
};

TEST_F(FindingsTest, AHealthyClusterHasNone) {
  EXPECT_EQ(cluster_.paths.size(), 4u);
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_THAT(DoctorText(cluster_, 4, {}), HasSubstr("All is well"));
}

TEST_F(FindingsTest, TcpBetweenNeighboursNamesWhoIsSetToIt) {
  path(0, 3).path = "tcp";
  cluster_.workers[3].transfer_path = "tcp";
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("fallback"), Subject("p0 -> d1"),
                                            Advice("d1 is set to transfer_path=tcp"))));
}

TEST_F(FindingsTest, TcpBetweenHostsIsOneOnlyWhereBothHaveRdma) {
  for (size_t prefill : {0, 1}) path(prefill, 3).path = "tcp";
  cluster_.workers[3].host_id = "there";
  EXPECT_THAT(Findings(), IsEmpty());
  cluster_.workers[0].rdma_devices = {"mlx5_0"};
  EXPECT_THAT(Findings(), IsEmpty());
  cluster_.workers[3].rdma_devices = {"mlx5_1"};
  EXPECT_THAT(Findings(),
              ElementsAre(AllOf(Kind("fallback"), Subject("p0 -> d1"), What("mlx5_0; mlx5_1"))));
}

TEST_F(FindingsTest, OneSlowPathAmongItsLikesIsSeen) {
  path(1, 2).round_ms = {2, 2, 2};
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("slow-path"), Subject("p1 -> d0"))));
}

TEST_F(FindingsTest, APathThatIsSlowByItselfIsSeenToo) {
  for (PathPicture& path : cluster_.paths) path.round_ms = {40};
  EXPECT_EQ(Findings().size(), 4u);
  EXPECT_THAT(Findings()[0], AllOf(Kind("slow-path"), What("below 1 GB/s")));
}

TEST_F(FindingsTest, SilenceIsOneFindingAndItsPathsAreNotProbed) {
  cluster_.workers[2].examined = Unavailable("no answer");
  EXPECT_EQ(PathsOf(cluster_).size(), 2u);
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("silent-worker"), Subject("d0"))));
  cluster_.workers[2].examined = Unimplemented("what?");
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("version"), Subject("d0"))));
}

TEST_F(FindingsTest, AWorkerThatNobodyIsPairedWithIsNamedWithTheReason) {
  cluster_.workers[2].fingerprint = "abc/v2/P32";
  cluster_.workers[3].fingerprint = "xyz/v2/P16";
  EXPECT_THAT(PathsOf(cluster_), IsEmpty());
  EXPECT_THAT(Findings(),
              ElementsAre(AllOf(Kind("fingerprint"), Subject("d0"), Advice("block_tokens")),
                          AllOf(Kind("fingerprint"), Subject("d1"), Advice("--dtype"))));
  // During a rollout each has its likes.
  cluster_.workers[2].fingerprint = cluster_.workers[0].fingerprint = "new/v2/P16";
  cluster_.workers[3].fingerprint = "abc/v2/P16";
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FindingsTest, AnotherVersionOfTheProtocolIsARollout) {
  cluster_.workers[2].fingerprint = "abc/P16";
  EXPECT_THAT(Findings(),
              ElementsAre(AllOf(Kind("fingerprint"), Subject("d0"), Advice("protocol"))));
}

TEST_F(FindingsTest, ADecodeWorkerWhoseSequencesCanGoOnNowhereIsNamed) {
  cluster_.workers[3].token_fingerprint = "abc/P16/T2";
  cluster_.workers[3].device.add_ranks();
  cluster_.workers[3].device.add_ranks();
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("no-equal"), Subject("d0"), What("d1 has 2")),
                                      AllOf(Kind("no-equal"), Subject("d1"), What("2 ranks"))));
  // Prefill workers may have as many as they like.
  cluster_.workers[3].token_fingerprint = "abc/P16/T1";
  cluster_.workers[0].token_fingerprint = "abc/P16/T8";
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FindingsTest, AGpuThatTakesKvByItselfIsWell) {
  for (WorkerPicture& worker : cluster_.workers) worker.device = Gpu();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_THAT(
      DoctorText(cluster_, 4, {}),
      AllOf(HasSubstr("cuda:0 NVIDIA H200 (cuda:sm90:warpgroups)"),
            HasSubstr("12.0 GiB of 140.0 GiB"), HasSubstr("12.6/12.8"), HasSubstr("device pool")));
  EXPECT_THAT(DoctorJson(cluster_, 4, {}),
              AllOf(HasSubstr("\"warpgroups\": true"), HasSubstr("\"memory_bytes_free\"")));
}

TEST_F(FindingsTest, KvThatGoesThroughHostMemoryIsNoticed) {
  v1::ComputeDevice device = Gpu();
  device.set_kv_access(v1::KV_ACCESS_HOST_MIRROR);
  device.set_why_mirror("UCX has no CUDA here");
  device.set_mirror_pinned(true);
  cluster_.workers[0].device = device;
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("kv-staging"), Subject("p0"),
                                            What("host memory: UCX has no CUDA here"))));
  cluster_.workers[0].device.set_mirror_pinned(false);
  EXPECT_THAT(Findings(),
              ElementsAre(AllOf(Kind("kv-staging"), What("unpinned"), Advice("ulimit -l"))));
}

TEST_F(FindingsTest, ACpuWhereAGpuIsIsNoticedWithTheReason) {
  v1::ComputeDevice device;
  device.set_kind("cpu");
  device.set_backend("cpu:avx512");
  device.add_ranks()->set_name("cpu:avx512");
  cluster_.workers[1].device = device;
  EXPECT_THAT(Findings(), IsEmpty());
  cluster_.workers[1].device.set_gpus_present(8);
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("cpu-beside-gpu"), Subject("p1"), What("8 GPUs"),
                                            Advice("auto or cuda:N"))));
  cluster_.workers[1].device.set_why_no_gpu("this build has no CUDA");
  EXPECT_THAT(Findings(), ElementsAre(AllOf(What("this build has no CUDA"), Advice("remove"))));
}

TEST_F(FindingsTest, BrokenAndCorruptPathsAreToldApart) {
  path(0, 2).probed = Unavailable("refused");
  path(1, 3).intact = false;
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("broken-path"), Subject("p0 -> d0")),
                                      AllOf(Kind("corrupt-path"), Subject("p1 -> d1"))));
}

TEST_F(FindingsTest, AClockCountsOnlyBeyondItsUncertainty) {
  cluster_.workers[0].clock = {.ahead = absl::Seconds(-3), .give_or_take = absl::Milliseconds(1)};
  cluster_.workers[1].clock = {.ahead = absl::Seconds(3), .give_or_take = absl::Seconds(3)};
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("clock"), Subject("p0"), What("3.000 s behind"))));
}

TEST_F(FindingsTest, VersionsAreToldWithWhoRunsThem) {
  cluster_.workers[1].version = "1.1.0";
  EXPECT_THAT(Findings(), ElementsAre(AllOf(Kind("version"), What("1.1.0: p1"))));
}

TEST_F(FindingsTest, WithoutDecodeWorkersNothingIsServed) {
  cluster_ = {};
  EXPECT_THAT(Findings(), ElementsAre(Kind("no-decode-worker")));
}

TEST(ClockOffsetTest, IsTakenFromTheMiddleOfQuestionAndAnswer) {
  const absl::Time noon = absl::FromUnixSeconds(1000);
  const ClockOffset clock = OffsetOf(noon, noon + absl::Seconds(2), noon + absl::Seconds(6));
  EXPECT_EQ(clock.ahead, absl::Seconds(5));
  EXPECT_EQ(clock.give_or_take, absl::Seconds(1));
}

TEST(ExaminerTest, TheFirstPathsHaveEveryWorker) {
  ClusterPicture cluster;
  for (int i = 0; i < 3; ++i) cluster.workers.push_back(Worker("p", false));
  for (int i = 0; i < 2; ++i) cluster.workers.push_back(Worker("d", true));
  const auto paths = PathsOf(cluster);
  ASSERT_EQ(paths.size(), 6u);
  std::set<size_t> seen;
  for (int i = 0; i < 3; ++i) seen.insert({paths[i].first, paths[i].second});
  EXPECT_EQ(seen.size(), 5u);
  EXPECT_EQ((std::set<std::pair<size_t, size_t>>(paths.begin(), paths.end()).size()), 6u);
}

TEST(ClusterPageTest, AnythingButARoutersPageIsAnError) {
  const absl::Time now = absl::Now();
  EXPECT_FALSE(ReadClusterPage("<html>", now, now).ok());
  EXPECT_FALSE(ReadClusterPage(R"({"workers": [{"id": 3}], "router": {}})", now, now).ok());
  const auto page = ReadClusterPage(
      R"({"router": {"version": "1", "wall_clock_us": 1000000}, "workers": [{"id": "d0", "role":
          "decode", "model": "m", "address": "h:1", "fingerprint": "f", "reachable": true,
          "suspect": false, "draining": true}]})",
      absl::FromUnixSeconds(1), absl::FromUnixSeconds(1));
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_TRUE(page->workers[0].is_decode && page->workers[0].draining);
  EXPECT_EQ(page->router_clock->ahead, absl::ZeroDuration());
}

}  // namespace
}  // namespace baton::cli
