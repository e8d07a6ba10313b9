#include "kernels/cuda/embedding/embed.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// One block per row, 16 bytes of the table per load.
namespace baton::kernels::cuda {
namespace {

template <typename T>
BATON_KERNEL(256)
void EmbedKernel(EmbedArgs args) {
  constexpr int kElements = kElementsPerVec16<T>;
  const Global<const int32_t> ids(args.ids);
  const Global<const T> table(static_cast<const T*>(args.table));
  const Global<float> out(args.out);
  const size_t hidden = size_t(args.hidden);
  int32_t id = ids[BlockX()];
  if (id < 0) id = Global<const int32_t>(args.sampled)[size_t(-1 - id)];
  const size_t from = size_t(id) * hidden, to = size_t{BlockX()} * hidden;
  for (size_t i = size_t{ThreadIndex()} * kElements; i < hidden;
       i += size_t{BlockThreads()} * kElements) {
    float values[kElements];
    Unpack(table.Load16(from + i), values);
    BATON_UNROLL
    for (int j = 0; j < kElements; j += 4) {
      const float four[4] = {values[j], values[j + 1], values[j + 2], values[j + 3]};
      out.Store16(to + i + size_t(j), Pack(four));
    }
  }
}

}  // namespace

Error Launch(const EmbedArgs& args, const LaunchShape& shape, Stream stream) {
  return args.table_dtype == DType::kF32
             ? LaunchKernel("embed_f32", EmbedKernel<float>, shape, stream, args)
             : LaunchKernel("embed_bf16", EmbedKernel<Bf16>, shape, stream, args);
}

}  // namespace baton::kernels::cuda
