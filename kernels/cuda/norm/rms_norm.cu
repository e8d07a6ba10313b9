#include "kernels/cuda/norm/rms_norm.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/block_reduce.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// One block per row. A thread keeps its elements in registers between the two passes: every byte is
// read once and written once.
namespace baton::kernels::cuda {
namespace {

constexpr int kVecsPerThread = 4;  // of four floats; choose.cc gives enough threads

template <typename Out>
BATON_DEVICE void Store4(const Global<Out>& out, size_t i, const float (&v)[4]) {
  if constexpr (sizeof(Out) == 4) {
    out.Store16(i, Pack(v));
  } else {
    Global<uint32_t> words(reinterpret_cast<uint32_t*>(out.pointer(i)));
    words[0] = PackBf16(v[0], v[1]);
    words[1] = PackBf16(v[2], v[3]);
  }
}

template <typename Out>
BATON_KERNEL(1024)
void RmsNormKernel(RmsNormArgs args) {
  const size_t row = size_t{BlockX()} * size_t(args.hidden);
  const Global<float> x(args.x);
  const Global<const float> add(args.add), weight(args.weight);
  const uint32_t vecs = uint32_t(args.hidden) / 4;
  float kept[kVecsPerThread][4];
  float sum = 0;
  BATON_UNROLL
  for (int k = 0; k < kVecsPerThread; ++k) {
    const uint32_t i = ThreadIndex() + uint32_t(k) * BlockThreads();
    if (i >= vecs) continue;
    Unpack(x.Load16(row + 4 * i), kept[k]);
    if (args.add != nullptr) {
      float more[4];
      Unpack(add.Load16(row + 4 * i), more);
      BATON_UNROLL
      for (int j = 0; j < 4; ++j) kept[k][j] += more[j];
      x.Store16(row + 4 * i, Pack(kept[k]));
    }
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) sum += kept[k][j] * kept[k][j];
  }
  SharedArena arena;
  sum = BlockSum(sum, arena.Take<float>(BlockThreads() / kWarpLanes));
  const float scale = ReciprocalSqrt(sum / float(args.hidden) + args.epsilon);
  const Global<Out> out(static_cast<Out*>(args.out));
  BATON_UNROLL
  for (int k = 0; k < kVecsPerThread; ++k) {
    const uint32_t i = ThreadIndex() + uint32_t(k) * BlockThreads();
    if (i >= vecs) continue;
    float scales[4];
    Unpack(weight.Load16(4 * i), scales);
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) kept[k][j] *= scale * scales[j];
    Store4(out, row + 4 * i, kept[k]);
  }
}

}  // namespace

Error Launch(const RmsNormArgs& args, const LaunchShape& shape, Stream stream) {
  return args.out_dtype == DType::kF32
             ? LaunchKernel("rms_norm_f32", RmsNormKernel<float>, shape, stream, args)
             : LaunchKernel("rms_norm_bf16", RmsNormKernel<Bf16>, shape, stream, args);
}

}  // namespace baton::kernels::cuda
