#include <cuda_runtime.h>

#include <cstdio>

#include "kernels/check.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda::testing {

DeviceTraits TestDevice() {
  cudaDeviceProp properties;
  KERNELS_CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  return {.compute_capability = properties.major * 10 + properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
}

std::optional<DeviceTraits> WarpgroupDevice() {
  DeviceTraits device = TestDevice();
  device.has_warpgroups = device.compute_capability == 90;
  return device.has_warpgroups ? std::optional(device) : std::nullopt;
}
std::vector<uint64_t> Orders() { return {0}; }
void UseOrder(uint64_t) {}

std::string Complaints() {
  const cudaError_t status = cudaDeviceSynchronize();
  return status == cudaSuccess ? "" : cudaGetErrorString(status);
}

}  // namespace baton::kernels::cuda::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "No GPU to test on: %s\n", cudaGetErrorString(status));
    return 1;
  }
  return RUN_ALL_TESTS();
}
