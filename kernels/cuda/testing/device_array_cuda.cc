#include <cuda_runtime.h>

#include "kernels/check.h"
#include "kernels/cuda/testing/device_array.h"

namespace baton::kernels::cuda::testing {

struct DeviceBytes::Memory {
  void* address = nullptr;
};

void DeviceBytes::Free::operator()(Memory* memory) const {
  cudaFree(memory->address);
  delete memory;
}

DeviceBytes::DeviceBytes(size_t bytes) : bytes_(bytes), memory_(new Memory) {
  KERNELS_CHECK(cudaMalloc(&memory_->address, bytes + 1) == cudaSuccess);
  KERNELS_CHECK(cudaMemset(memory_->address, 0xff, bytes + 1) == cudaSuccess);
}
DeviceBytes::~DeviceBytes() = default;

std::byte* DeviceBytes::data() { return static_cast<std::byte*>(memory_->address); }

void DeviceBytes::CopyIn(const void* host, size_t bytes, size_t offset) {
  KERNELS_CHECK(cudaMemcpy(data() + offset, host, bytes, cudaMemcpyHostToDevice) == cudaSuccess);
}

void DeviceBytes::CopyOut(void* host, size_t bytes, size_t offset) {
  KERNELS_CHECK(cudaMemcpy(host, data() + offset, bytes, cudaMemcpyDeviceToHost) == cudaSuccess);
}

void DeviceBytes::Forget(size_t offset, size_t bytes) {
  KERNELS_CHECK(cudaMemset(data() + offset, 0xff, bytes) == cudaSuccess);
}

}  // namespace baton::kernels::cuda::testing
