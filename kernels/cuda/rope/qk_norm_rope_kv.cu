#include "kernels/cuda/rope/qk_norm_rope_kv.h"

#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/warp.cuh"

// One warp per head of one token. A lane holds elements i and i + D/2, which rotate together.
namespace baton::kernels::cuda {
namespace {

constexpr uint32_t kPairsMax = 4;  // per lane: D <= 256

template <typename T>
struct QkNormRopeKvKernelArgs {
  QkvArgs qkv;
  KvLayer<T> kv;
  float* q_out;
};

struct Head {
  float low[kPairsMax];   // elements lane, lane + 32, … below D/2
  float high[kPairsMax];  // D/2 further
};

// Calls visit(k, i) for the lane's pairs (i, i + D/2).
template <typename Visit>
BATON_DEVICE void ForPairs(uint32_t half, Visit visit) {
  BATON_UNROLL
  for (uint32_t k = 0; k < kPairsMax; ++k) {
    const uint32_t i = LaneIndex() + k * kWarpLanes;
    if (i < half) visit(k, i);
  }
}

BATON_DEVICE void Normalise(Head& head, const Global<const float>& weight, float epsilon,
                            uint32_t half) {
  float sum = 0;
  ForPairs(half, [&](uint32_t k, uint32_t) {
    sum += head.low[k] * head.low[k] + head.high[k] * head.high[k];
  });
  const float scale = ReciprocalSqrt(WarpSum(sum) / float(2 * half) + epsilon);
  ForPairs(half, [&](uint32_t k, uint32_t i) {
    head.low[k] *= scale * weight[i];
    head.high[k] *= scale * weight[half + i];
  });
}

BATON_DEVICE void Rotate(Head& head, const RopeTable& rope, int32_t position, uint32_t half) {
  const Global<const float> cos(rope.cos), sin(rope.sin);
  const size_t row = size_t(position) * half;
  ForPairs(half, [&](uint32_t k, uint32_t i) {
    const float c = cos[row + i], s = sin[row + i];
    const float a = head.low[k], b = head.high[k];
    head.low[k] = a * c - b * s;
    head.high[k] = b * c + a * s;
  });
}

template <typename T>
BATON_DEVICE void Write(const Head& head, const Global<T>& to, size_t at, uint32_t half) {
  ForPairs(half, [&](uint32_t k, uint32_t i) {
    to[at + i] = FromFloat<T>(head.low[k]);
    to[at + half + i] = FromFloat<T>(head.high[k]);
  });
}

// The same bytes and scale as the host's QuantizeRow().
template <typename T>
BATON_DEVICE void WriteQuantized(const Head& head, const Global<T>& to, size_t at, uint32_t half,
                                 const Global<float>& scale) {
  uint32_t largest = 0;
  ForPairs(half, [&](uint32_t k, uint32_t) {
    const uint32_t low = BitsOf(head.low[k]) & 0x7fffffffu;
    const uint32_t high = BitsOf(head.high[k]) & 0x7fffffffu;
    const uint32_t larger = low > high ? low : high;
    largest = larger > largest ? larger : largest;
  });
  const RowScale row = ScaleOfWarp<T>(largest);
  const auto rounded = [&](float x) {
    return Quantized<T>(row.inverse == 0 ? 0 : RoundedProduct(x, row.inverse));
  };
  ForPairs(half, [&](uint32_t k, uint32_t i) {
    to[at + i] = rounded(head.low[k]);
    to[at + half + i] = rounded(head.high[k]);
  });
  if (LaneIndex() == 0) scale[0] = row.scale;
}

template <typename T>
BATON_KERNEL(128)
void QkNormRopeKvKernel(QkNormRopeKvKernelArgs<T> args) {
  const uint32_t q_heads = uint32_t(args.qkv.num_q_heads), kv_heads = args.kv.num_kv_heads;
  const uint32_t heads = q_heads + 2 * kv_heads, half = args.kv.head_dim / 2;
  const size_t item = size_t{BlockX()} * (BlockThreads() / kWarpLanes) + WarpIndex();
  if (item >= size_t(args.qkv.num_tokens) * heads) return;  // whole warps
  const size_t t = item / heads;
  const uint32_t h = uint32_t(item % heads);
  const bool is_q = h < q_heads, is_v = h >= q_heads + kv_heads;

  const Global<const float> qkv(args.qkv.qkv);
  Head head;
  ForPairs(half, [&](uint32_t k, uint32_t i) {
    head.low[k] = qkv[item * 2 * half + i];
    head.high[k] = qkv[item * 2 * half + half + i];
  });
  const float* norm = is_q ? args.qkv.q_norm : args.qkv.k_norm;
  if (!is_v && norm != nullptr) {
    Normalise(head, Global<const float>(norm), args.qkv.norm_epsilon, half);
  }
  if (!is_v) {
    const Global<const int32_t> positions(args.qkv.positions);
    Rotate(head, args.qkv.rope, positions[t], half);
  }
  if (is_q) return Write(head, Global<float>(args.q_out), (t * q_heads + h) * 2 * half, half);
  const Global<const int32_t> slots(args.qkv.slots);
  const int32_t slot = slots[t];
  if (slot < 0) return;
  const uint32_t token = uint32_t(slot) & (args.kv.block_tokens - 1);
  const uint32_t kv_head = is_v ? h - q_heads - kv_heads : h - q_heads;
  const uint32_t block = uint32_t(slot) >> args.kv.token_shift;
  const size_t at = args.kv.Row(block, is_v, kv_head, token);
  if constexpr (kIsQuantized<T>) {
    T* scales = args.kv.base + args.kv.Row(block, is_v, kv_head, args.kv.block_tokens);
    WriteQuantized(head, Global<T>(args.kv.base), at, half,
                   Global<float>(reinterpret_cast<float*>(scales)) + token);
  } else {
    Write(head, Global<T>(args.kv.base), at, half);
  }
}

template <typename T>
Error LaunchFor(const char* name, const QkNormRopeKvArgs& args, const LaunchShape& shape,
                Stream stream) {
  const QkNormRopeKvKernelArgs<T> kernel_args = {args.qkv, LayerOf<T>(args.kv, args.layer),
                                                 args.q_out};
  return LaunchKernel(name, QkNormRopeKvKernel<T>, shape, stream, kernel_args);
}

}  // namespace

Error Launch(const QkNormRopeKvArgs& args, const LaunchShape& shape, Stream stream) {
  switch (args.kv.dtype) {
    case DType::kF32:
      return LaunchFor<float>("qk_norm_rope_kv_f32", args, shape, stream);
    case DType::kFp8:
      return LaunchFor<Fp8>("qk_norm_rope_kv_fp8", args, shape, stream);
    case DType::kInt8:
      return LaunchFor<Int8>("qk_norm_rope_kv_int8", args, shape, stream);
    default:
      return LaunchFor<Bf16>("qk_norm_rope_kv_bf16", args, shape, stream);
  }
}

}  // namespace baton::kernels::cuda
