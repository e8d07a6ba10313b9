#include "kernels/cuda/embedding/gather_rows.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// One block per row, 16 bytes per load.
namespace baton::kernels::cuda {
namespace {

BATON_KERNEL(256)
void GatherRowsKernel(GatherRowsArgs args) {
  const Global<const int32_t> rows(args.rows);
  const Global<const std::byte> x(args.x);
  const Global<std::byte> out(args.out);
  const size_t from = size_t(int32_t(rows[BlockX()])) * args.row_bytes;
  const size_t to = size_t{BlockX()} * args.row_bytes;
  for (size_t i = size_t{ThreadIndex()} * 16; i < args.row_bytes;
       i += size_t{BlockThreads()} * 16) {
    out.Store16(to + i, x.Load16(from + i));
  }
}

}  // namespace

Error Launch(const GatherRowsArgs& args, const LaunchShape& shape, Stream stream) {
  return LaunchKernel("gather_rows", GatherRowsKernel, shape, stream, args);
}

}  // namespace baton::kernels::cuda
