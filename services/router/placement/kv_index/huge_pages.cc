#include "services/router/placement/kv_index/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "common/base/check.h"

namespace baton::router {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCacheLine = 64;

}  // namespace

void* MapZeroed(size_t bytes) {
  if (bytes < kHugePage) {
    void* memory =
        std::aligned_alloc(kCacheLine, (bytes + kCacheLine - 1) / kCacheLine * kCacheLine);
    CHECK(memory != nullptr, "no memory for {} bytes of the KV index", bytes);
    return std::memset(memory, 0, bytes);
  }
  // A huge page more, so that it can begin at a boundary; what is over goes back at once.
  const size_t mapped = bytes + kHugePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED, "no memory for {} bytes of the KV index", bytes);
  char* const first = static_cast<char*>(memory);
  const auto address = reinterpret_cast<uintptr_t>(first);
  char* const begin = first + ((kHugePage - address % kHugePage) % kHugePage);
  const size_t page = 4096;
  char* const end = begin + (bytes + page - 1) / page * page;
  if (begin > first) munmap(first, static_cast<size_t>(begin - first));
  if (end < first + mapped) munmap(end, static_cast<size_t>(first + mapped - end));
  madvise(begin, static_cast<size_t>(end - begin), MADV_HUGEPAGE);  // a wish
  return begin;
}

void Unmap(void* memory, size_t bytes) {
  if (bytes < kHugePage) return std::free(memory);
  munmap(memory, (bytes + 4095) / 4096 * 4096);
}

}  // namespace baton::router
