#include <cstring>

#include "kernels/cuda/emulation/device_memory.h"
#include "kernels/cuda/testing/device_array.h"

namespace baton::kernels::cuda::testing {

struct DeviceBytes::Memory {
  explicit Memory(size_t bytes) : allocation(bytes) {}
  emulation::Allocation allocation;
};

void DeviceBytes::Free::operator()(Memory* memory) const { delete memory; }

DeviceBytes::DeviceBytes(size_t bytes) : bytes_(bytes), memory_(new Memory(bytes)) {}
DeviceBytes::~DeviceBytes() = default;

std::byte* DeviceBytes::data() { return memory_->allocation.data(); }

void DeviceBytes::CopyIn(const void* host, size_t bytes, size_t offset) {
  if (bytes == 0) return;  // `host` may be null then
  std::memcpy(data() + offset, host, bytes);
  memory_->allocation.MarkWritten(offset, bytes);
}

void DeviceBytes::CopyOut(void* host, size_t bytes, size_t offset) {
  if (bytes == 0) return;
  std::memcpy(host, data() + offset, bytes);
}

void DeviceBytes::Forget(size_t offset, size_t bytes) { memory_->allocation.Forget(offset, bytes); }

}  // namespace baton::kernels::cuda::testing
