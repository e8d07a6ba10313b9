#include "kernels/cuda/attention/paged_plain.h"

#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/warp.cuh"

// A warp takes one query head of one token and walks the tokens that it sees in tiles of 32 at
// absolute positions. For scores a lane has a token of the tile, for results some of head_dim.
namespace baton::kernels::cuda {
namespace {

constexpr uint32_t kWarps = 4;

template <typename T>
struct PlainKernelArgs {
  PagedPrefillArgs call;
  KvLayer<const T> kv;
};

template <typename T>
class PlainRow {
 public:
  static constexpr uint32_t kElements = kIsQuantized<T> ? 8 : kElementsPerVec16<T>;
  static constexpr uint32_t kSlices = 256 / kWarpLanes;  // of head_dim, one element per lane

  BATON_DEVICE explicit PlainRow(const PlainKernelArgs<T>& args)
      : args_(args), keys_and_values_(args.kv.base), table_(args.call.block_tables) {}

  BATON_DEVICE void Run() {
    const uint32_t heads = uint32_t(args_.call.num_q_heads), b = BlockZ();
    const uint32_t item = BlockX() * kWarps + WarpIndex();
    const Global<const int32_t> begins(args_.call.query_begin), tokens(args_.call.query_tokens),
        contexts(args_.call.context_tokens);
    const int32_t query_tokens = tokens[b];
    const uint32_t token = item / heads, head = item % heads;
    if (token >= uint32_t(query_tokens)) return;  // whole warps
    position_ = int32_t(contexts[b]) - query_tokens + int32_t(token);
    const int32_t window = args_.call.window;
    first_ = window > 0 && position_ >= window ? position_ - window + 1 : 0;
    kv_head_ = head / (heads / args_.kv.num_kv_heads);
    row_ = ((size_t(int32_t(begins[b])) + token) * heads + head) * args_.kv.head_dim;
    table_ = table_ + size_t{b} * size_t(args_.call.blocks_max);
    for (int32_t tile = first_ / 32; tile <= position_ / 32; ++tile) Visit(tile * 32);
    Write();
  }

 private:
  BATON_DEVICE bool Sees(int32_t token) const { return token >= first_ && token <= position_; }
  BATON_DEVICE uint32_t BlockOf(int32_t token) const {
    return uint32_t(int32_t(table_[uint32_t(token) >> args_.kv.token_shift]));
  }
  BATON_DEVICE uint32_t InBlock(int32_t token) const {
    return uint32_t(token) & (args_.kv.block_tokens - 1);
  }
  BATON_DEVICE size_t At(uint32_t part, int32_t token) const {
    return args_.kv.Row(BlockOf(token), part, kv_head_, InBlock(token));
  }
  BATON_DEVICE float ScaleAt(uint32_t part, int32_t token) const {
    if constexpr (kIsQuantized<T>) {
      return args_.kv.Scales(BlockOf(token), part, kv_head_)[InBlock(token)];
    } else {
      return 1;
    }
  }

  BATON_DEVICE float Score(int32_t token) const {
    const Global<const float> q(args_.call.q);
    const size_t key = At(0, token);
    float score = 0;
    for (uint32_t d = 0; d < args_.kv.head_dim; d += kElements) {
      float k[kElements];
      LoadKeys(key + d, k);
      BATON_UNROLL
      for (uint32_t i = 0; i < kElements; i += 4) {
        float four[4];
        Unpack(q.Load16(row_ + d + i), four);
        BATON_UNROLL
        for (uint32_t j = 0; j < 4; ++j) score = MultiplyAdd(four[j], k[i + j], score);
      }
    }
    return score * ScaleAt(0, token) * (args_.call.scale * kLog2E);
  }

  // Heads of eight bytes lie at multiples of eight.
  BATON_DEVICE void LoadKeys(size_t at, float (&keys)[kElements]) const {
    if constexpr (kIsQuantized<T>) {
      BATON_UNROLL
      for (uint32_t i = 0; i < kElements; ++i) keys[i] = ToFloat(T(keys_and_values_[at + i]));
    } else {
      Unpack(keys_and_values_.Load16(at), keys);
    }
  }

  // Every tile visited has a token that the row sees.
  BATON_DEVICE void Visit(int32_t begin) {
    const int32_t mine = begin + int32_t(LaneIndex());
    const float score = Sees(mine) ? Score(mine) : kMinusInfinity;
    const float largest = Larger(largest_, WarpMax(score));
    const float factor = largest == largest_ ? 1 : Exp2(largest_ - largest);
    const float weight = Exp2(score - largest);
    largest_ = largest;
    sum_ = sum_ * factor + WarpSum(weight);
    BATON_UNROLL
    for (uint32_t slice = 0; slice < kSlices; ++slice) results_[slice] *= factor;
    for (uint32_t i = 0; i < kWarpLanes; ++i) {
      const float of_token = ShuffleFrom(weight, i);
      const int32_t token = begin + int32_t(i);
      if (Sees(token)) AddValue(At(1, token), of_token * ScaleAt(1, token));
    }
  }

  BATON_DEVICE void AddValue(size_t value, float weight) {
    BATON_UNROLL
    for (uint32_t slice = 0; slice < kSlices; ++slice) {
      const uint32_t d = slice * kWarpLanes + LaneIndex();
      if (d >= args_.kv.head_dim) continue;
      results_[slice] =
          MultiplyAdd(weight, ToFloat(T(keys_and_values_[value + d])), results_[slice]);
    }
  }

  BATON_DEVICE void Write() const {
    BATON_UNROLL
    for (uint32_t slice = 0; slice < kSlices; ++slice) {
      const uint32_t d = slice * kWarpLanes + LaneIndex();
      if (d >= args_.kv.head_dim) continue;
      const float result = Divide(results_[slice], sum_);
      if (args_.call.out_dtype == DType::kBF16) {
        Global<Bf16>(static_cast<Bf16*>(args_.call.out))[row_ + d] = ToBf16(result);
      } else {
        Global<float>(static_cast<float*>(args_.call.out))[row_ + d] = result;
      }
    }
  }

  const PlainKernelArgs<T>& args_;
  Global<const T> keys_and_values_;
  Global<const int32_t> table_;  // the sequence's
  int32_t position_ = 0, first_ = 0;
  uint32_t kv_head_ = 0;
  size_t row_ = 0;  // of q and the result, in elements
  float largest_ = kMinusInfinity, sum_ = 0;
  float results_[kSlices] = {};
};

template <typename T>
BATON_KERNEL(kWarps* kWarpLanes)
void PlainAttentionKernel(PlainKernelArgs<T> args) {
  PlainRow<T>(args).Run();
}

}  // namespace

Error Launch(const PagedPlainArgs& args, const LaunchShape& shape, Stream stream) {
  const PagedPrefillArgs& call = args.call;
  const auto launch = [&]<typename T>(const char* name, T) {
    return LaunchKernel(name, PlainAttentionKernel<T>, shape, stream,
                        PlainKernelArgs<T>{call, LayerOf<const T>(call.kv, call.layer)});
  };
  switch (call.kv.dtype) {
    case DType::kF32:
      return launch("paged_plain_f32", float{});
    case DType::kFp8:
      return launch("paged_plain_fp8", Fp8{});
    case DType::kInt8:
      return launch("paged_plain_int8", Int8{});
    default:
      return launch("paged_plain_bf16", Bf16{});
  }
}

}  // namespace baton::kernels::cuda
