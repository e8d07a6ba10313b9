#pragma once

#include <cstddef>

#include "kernels/backend.h"

namespace baton::kernels {

// Zeroed host memory, 64-byte aligned; from 2 MiB on in huge pages where the system gives them.
class CpuMemory final : public Buffer {
 public:
  explicit CpuMemory(size_t bytes);
  ~CpuMemory() override;
  CpuMemory(const CpuMemory&) = delete;
  CpuMemory& operator=(const CpuMemory&) = delete;

  std::byte* data() override { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const override { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_;
  size_t mapped_bytes_ = 0;  // 0: from the heap
};

}  // namespace baton::kernels
