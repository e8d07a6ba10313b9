#include "kernels/cuda/activation/silu_mul.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// Eight elements per thread, whatever the row.
namespace baton::kernels::cuda {
namespace {

BATON_DEVICE void Load8(const Global<const float>& from, size_t i, float (&out)[8]) {
  BATON_UNROLL
  for (int half = 0; half < 2; ++half) {
    float four[4];
    Unpack(from.Load16(i + 4 * size_t(half)), four);
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) out[4 * half + j] = four[j];
  }
}

BATON_DEVICE void Store8(const Global<Bf16>& to, size_t i, const float (&v)[8]) {
  to.Store16(i, Pack(v));
}
BATON_DEVICE void Store8(const Global<float>& to, size_t i, const float (&v)[8]) {
  const float low[4] = {v[0], v[1], v[2], v[3]}, high[4] = {v[4], v[5], v[6], v[7]};
  to.Store16(i, Pack(low));
  to.Store16(i + 4, Pack(high));
}

template <typename Out>
BATON_KERNEL(256)
void SiluMulKernel(SiluMulArgs args) {
  const size_t groups = size_t(args.intermediate) / 8;  // per row
  const size_t item = size_t{BlockX()} * BlockThreads() + ThreadIndex();
  if (item >= groups * size_t(args.num_tokens)) return;
  const size_t row = item / groups, column = item % groups * 8;
  const Global<const float> gate_up(args.gate_up);
  float gate[8], up[8];
  Load8(gate_up, row * 2 * size_t(args.intermediate) + column, gate);
  Load8(gate_up, (row * 2 + 1) * size_t(args.intermediate) + column, up);
  BATON_UNROLL
  for (int j = 0; j < 8; ++j) up[j] *= Divide(gate[j], 1 + Exp(-gate[j]));
  Store8(Global<Out>(static_cast<Out*>(args.out)), row * size_t(args.intermediate) + column, up);
}

}  // namespace

Error Launch(const SiluMulArgs& args, const LaunchShape& shape, Stream stream) {
  return args.out_dtype == DType::kF32
             ? LaunchKernel("silu_mul_f32", SiluMulKernel<float>, shape, stream, args)
             : LaunchKernel("silu_mul_bf16", SiluMulKernel<Bf16>, shape, stream, args);
}

}  // namespace baton::kernels::cuda
