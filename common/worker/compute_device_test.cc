#include "common/worker/compute_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace baton::worker {
namespace {

using ::testing::StartsWith;

model::DeviceGroup Cpus(int32_t size) {
  model::DeviceOptions options;
  options.kind = model::DeviceKind::kCpu;
  options.threads = 1;
  return *model::OpenDevices(options, size);
}

TEST(ComputeDeviceTest, ACpuIsOneRankThatComputesInTheMachinesMemory) {
  const v1::ComputeDevice device = DescribeDevice(Cpus(1), {});
  EXPECT_EQ(device.kind(), "cpu");
  EXPECT_THAT(device.backend(), StartsWith("cpu:"));
  ASSERT_EQ(device.ranks_size(), 1);
  EXPECT_FALSE(device.ranks(0).has_index());
  EXPECT_EQ(device.ranks(0).memory_bytes(), 0u);
  EXPECT_EQ(device.collective(), "");
  EXPECT_EQ(device.kv_access(), v1::KV_ACCESS_HOST_POOL);
  EXPECT_TRUE(device.deterministic());
}

TEST(ComputeDeviceTest, RanksAreToldWithWhatJoinsThem) {
  const v1::ComputeDevice device = DescribeDevice(Cpus(2), {});
  EXPECT_EQ(device.ranks_size(), 2);
  EXPECT_EQ(device.collective(), "host");
}

TEST(ComputeDeviceTest, WhyItIsTheCpuAndWhyAMirrorAreToldInWords) {
  model::DeviceGroup devices = Cpus(1);
  devices.why_no_gpu = "no NVIDIA driver is installed";
  const v1::ComputeDevice device =
      DescribeDevice(devices, {.access = v1::KV_ACCESS_HOST_MIRROR, .why_mirror = "no cuda_ipc"});
  EXPECT_EQ(device.why_no_gpu(), "no NVIDIA driver is installed");
  EXPECT_EQ(device.why_mirror(), "no cuda_ipc");
  EXPECT_FALSE(device.mirror_pinned());
}

TEST(ComputeDeviceTest, GpusAreCountedByTheirDeviceFilesAlone) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "gpu_files";
  std::filesystem::remove_all(folder);
  EXPECT_EQ(CountGpuFiles(folder), 0) << "no such folder";
  std::filesystem::create_directories(folder);
  for (const char* name : {"nvidia0", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia", "sda1"}) {
    std::ofstream(folder / name) << "";
  }
  EXPECT_EQ(CountGpuFiles(folder), 2);
}

}  // namespace
}  // namespace baton::worker
