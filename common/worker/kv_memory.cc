#include "common/worker/kv_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace baton::worker {
namespace {

// Whole pages of [begin, begin + bytes).
void DropPages(std::byte* begin, size_t bytes) {
  static const auto kPage = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto from = (reinterpret_cast<uintptr_t>(begin) + kPage - 1) / kPage * kPage;
  const auto to = (reinterpret_cast<uintptr_t>(begin) + bytes) / kPage * kPage;
  if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_REMOVE);
}

}  // namespace

void DropKvMemory(const kernels::KvShares& pool, std::span<const BlockId> blocks) {
  std::vector<int32_t> ids;
  for (BlockId block : blocks) ids.push_back(block.value());
  std::sort(ids.begin(), ids.end());
  // Neighbours are one piece in every layer.
  for (size_t first = 0, end = 0; first < ids.size(); first = end) {
    for (end = first + 1; end < ids.size() && ids[end] == ids[end - 1] + 1;) ++end;
    for (int32_t r = 0; r < pool.num_ranks; ++r) {
      const kernels::KvView share = pool.rank(r);
      for (int32_t layer = 0; layer < share.num_layers; ++layer) {
        DropPages(share.piece(layer, ids[first]), (end - first) * share.block_layer_bytes());
      }
    }
  }
}

}  // namespace baton::worker
