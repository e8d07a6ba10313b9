#include "kernels/cpu/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "kernels/check.h"

namespace baton::kernels {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Maps `bytes` (whole huge pages) on a huge page's boundary.
std::byte* MapAligned(size_t bytes) {
  void* raw = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto* start = static_cast<std::byte*>(raw);
  const size_t skip =
      RoundUp(reinterpret_cast<uintptr_t>(start), kHugePage) - reinterpret_cast<uintptr_t>(start);
  if (skip > 0) munmap(start, skip);
  if (skip < kHugePage) munmap(start + skip + bytes, kHugePage - skip);
  madvise(start + skip, bytes, MADV_HUGEPAGE);  // best effort
  return start + skip;
}

}  // namespace

CpuMemory::CpuMemory(size_t bytes) : bytes_(bytes) {
  if (bytes >= kHugePage) {
    mapped_bytes_ = RoundUp(bytes, kHugePage);
    data_ = MapAligned(mapped_bytes_);
  } else {
    const size_t padded = RoundUp(bytes == 0 ? 1 : bytes, 64);
    data_ = static_cast<std::byte*>(std::aligned_alloc(64, padded));
    if (data_ != nullptr) std::memset(data_, 0, padded);
  }
  KERNELS_CHECK(data_ != nullptr && "out of memory");
}

CpuMemory::~CpuMemory() {
  if (mapped_bytes_ > 0) {
    munmap(data_, mapped_bytes_);
  } else {
    std::free(data_);
  }
}

}  // namespace baton::kernels
