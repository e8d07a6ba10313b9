#include "kernels/cuda/kv/block_copy.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// One block of threads per contiguous run: the K or the V of one layer of one block, for the range
// of heads. Sixteen bytes per thread and turn, four of them on their way at once.
namespace baton::kernels::cuda {
namespace {

constexpr uint32_t kVecsInFlight = 4;

struct BlockCopyKernelArgs {
  std::byte* pool;
  std::byte* staging;
  const int32_t* blocks;
  uint32_t num_blocks;
  size_t layer_bytes;  // of the pool, from one layer to the next
  size_t part_bytes;   // of the pool, K or V of one block: all heads
  size_t skip_bytes;   // heads before the range
  size_t run_bytes;    // heads of the range
  bool is_gather;
};

BATON_KERNEL(256)
void BlockCopyKernel(BlockCopyKernelArgs args) {
  const uint32_t part = BlockX() % 2, index = BlockX() / 2, layer = BlockY();
  const Global<const int32_t> blocks(args.blocks);
  const size_t block = size_t(int32_t(blocks[index]));
  const size_t in_pool =
      layer * args.layer_bytes + (2 * block + part) * args.part_bytes + args.skip_bytes;
  const size_t in_staging = ((size_t{layer} * args.num_blocks + index) * 2 + part) * args.run_bytes;
  const Global<std::byte> from =
      args.is_gather ? Global(args.pool) + in_pool : Global(args.staging) + in_staging;
  const Global<std::byte> to =
      args.is_gather ? Global(args.staging) + in_staging : Global(args.pool) + in_pool;
  const size_t vecs = args.run_bytes / sizeof(Vec16);
  for (size_t first = ThreadIndex(); first < vecs;
       first += size_t{BlockThreads()} * kVecsInFlight) {
    Vec16 kept[kVecsInFlight];
    BATON_UNROLL
    for (uint32_t k = 0; k < kVecsInFlight; ++k) {
      const size_t i = first + size_t{k} * BlockThreads();
      if (i < vecs) kept[k] = from.Load16(i * sizeof(Vec16));
    }
    BATON_UNROLL
    for (uint32_t k = 0; k < kVecsInFlight; ++k) {
      const size_t i = first + size_t{k} * BlockThreads();
      if (i < vecs) to.Store16(i * sizeof(Vec16), kept[k]);
    }
  }
}

}  // namespace

Error Launch(const KvBlockCopyArgs& args, const LaunchShape& shape, Stream stream) {
  const KvView& kv = args.kv;
  const BlockCopyKernelArgs kernel_args = {
      .pool = kv.piece(args.first_layer, 0),
      .staging = args.staging,
      .blocks = args.blocks,
      .num_blocks = uint32_t(args.num_blocks),
      .layer_bytes = kv.layer_bytes(),
      .part_bytes = size_t(kv.num_kv_heads) * kv.head_bytes(),
      .skip_bytes = size_t(args.first_head) * kv.head_bytes(),
      .run_bytes = size_t(args.num_heads) * kv.head_bytes(),
      .is_gather = args.direction == KvBlockCopyArgs::Direction::kGather};
  return LaunchKernel("kv_block_copy", BlockCopyKernel, shape, stream, kernel_args);
}

}  // namespace baton::kernels::cuda
