#include "kernels/cuda/gemm/gemm.h"

#include "kernels/cuda/gemm/gemm_result.cuh"
#include "kernels/cuda/gemm/gemm_shape.h"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/mma.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/primitives/sync.cuh"

// A block of threads makes one tile of the result, walking K from 0 on:
//
//   device memory --cp.async, some stages ahead--> ring of tiles of x and W --> products
//
// Rows and columns past the end, and what is left of the last stage, are zeros. An output is summed
// over K in steps of 16, rising, whatever the tile.
namespace baton::kernels::cuda {
namespace {

template <GemmShape kShape>
class GemmBlock {
 public:
  static constexpr uint32_t kThreads = kShape.threads();
  static constexpr uint32_t kChunks = kShape.chunks();
  static constexpr uint32_t kStageElements = kShape.stage_elements();
  static constexpr uint32_t kTokenTiles = kShape.warp_tokens / 16;
  static constexpr uint32_t kOutputTiles = kShape.warp_outputs / 8;
  static constexpr uint32_t kWarpsDown = kShape.tokens / kShape.warp_tokens;

  BATON_DEVICE explicit GemmBlock(const GemmArgs& args)
      : args_(args),
        x_(static_cast<const Bf16*>(args.x)),
        w_(static_cast<const Bf16*>(args.w)),
        ring_(arena_.Take<Bf16>(kShape.stages * kStageElements)),
        first_token_(BlockX() * kShape.tokens),
        first_output_(BlockY() * kShape.outputs),
        num_inputs_(uint32_t(args.num_inputs)) {}

  BATON_DEVICE void Run() {
    BATON_UNROLL
    for (uint32_t m = 0; m < kTokenTiles; ++m) {
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutputTiles; ++n) {
        BATON_UNROLL
        for (int i = 0; i < 4; ++i) results_[m][n][i] = 0;
      }
    }
    const uint32_t stages = (num_inputs_ + kShape.inputs - 1) / kShape.inputs;
    for (uint32_t stage = 0; stage + 1 < kShape.stages; ++stage) Load(stage);
    for (uint32_t stage = 0; stage < stages; ++stage) {
      WaitCopies<int(kShape.stages) - 2>();
      SyncBlock();  // the stage is there, and nobody reads the one before it
      Load(stage + kShape.stages - 1);
      Multiply(stage);
    }
    WaitCopies<0>();
    Write();
  }

 private:
  // Begins the copies of a stage's part of x, then of W.
  BATON_DEVICE void Load(uint32_t stage) {
    const uint32_t first_input = stage * kShape.inputs;
    if (first_input < num_inputs_) {
      const uint32_t to = PlaceOf(stage);
      for (uint32_t i = ThreadIndex(); i < (kShape.tokens + kShape.outputs) * kChunks;
           i += kThreads) {
        const uint32_t row = i / kChunks, chunk = i % kChunks;
        const uint32_t input = first_input + 8 * chunk;
        const bool is_x = row < kShape.tokens;
        const uint32_t at = is_x ? first_token_ + row : first_output_ + row - kShape.tokens;
        const uint32_t end = uint32_t(is_x ? args_.num_tokens : args_.num_outputs);
        CopyAsync16OrZero(ring_, to + Swizzled<kChunks>(row, chunk) * 8, is_x ? x_ : w_,
                          size_t{at} * num_inputs_ + input, at < end && input < num_inputs_);
      }
    }
    CommitCopies();
  }
  BATON_DEVICE static uint32_t PlaceOf(uint32_t stage) {
    return stage % kShape.stages * kStageElements;
  }

  BATON_DEVICE void Multiply(uint32_t stage) {
    const uint32_t lane = LaneIndex(), from = PlaceOf(stage);
    const uint32_t tokens = WarpIndex() % kWarpsDown * kShape.warp_tokens;
    const uint32_t outputs = kShape.tokens + WarpIndex() / kWarpsDown * kShape.warp_outputs;
    const uint32_t left = num_inputs_ - stage * kShape.inputs;
    BATON_UNROLL
    for (uint32_t k = 0; k < kShape.inputs / 16; ++k) {
      if (16 * k >= left) break;
      uint32_t a[kTokenTiles][4];
      BATON_UNROLL
      for (uint32_t m = 0; m < kTokenTiles; ++m) {
        const uint32_t row = tokens + 16 * m + lane % 16;
        LoadTiles(a[m], ring_, from + Swizzled<kChunks>(row, 2 * k + lane / 16) * 8);
      }
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutputTiles; n += 2) {
        uint32_t b[4];
        const uint32_t row = outputs + 8 * n + lane / 16 * 8 + lane % 8;
        LoadTiles(b, ring_, from + Swizzled<kChunks>(row, 2 * k + lane / 8 % 2) * 8);
        BATON_UNROLL
        for (uint32_t m = 0; m < kTokenTiles; ++m) {
          MultiplyTile(results_[m][n], a[m], {b[0], b[1]});
          MultiplyTile(results_[m][n + 1], a[m], {b[2], b[3]});
        }
      }
    }
  }

  BATON_DEVICE void Write() const {
    const uint32_t token =
        first_token_ + WarpIndex() % kWarpsDown * kShape.warp_tokens + LaneIndex() / 4;
    const uint32_t output =
        first_output_ + WarpIndex() / kWarpsDown * kShape.warp_outputs + LaneIndex() % 4 * 2;
    BATON_UNROLL
    for (uint32_t m = 0; m < kTokenTiles; ++m) {
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutputTiles; ++n) {
        BATON_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          StoreResult(args_, token + 16 * m + i / 2 * 8, output + 8 * n + i % 2, results_[m][n][i]);
        }
      }
    }
  }

  const GemmArgs& args_;
  SharedArena arena_;
  Global<const Bf16> x_, w_;
  Shared<Bf16> ring_;  // [stages][tokens of x, then outputs of W][inputs], swizzled
  const uint32_t first_token_, first_output_, num_inputs_;
  float results_[kTokenTiles][kOutputTiles][4];
};

BATON_KERNEL(kGemmNarrow.threads())
void GemmNarrowKernel(GemmArgs args) { GemmBlock<kGemmNarrow>(args).Run(); }
BATON_KERNEL(kGemmMiddle.threads())
void GemmMiddleKernel(GemmArgs args) { GemmBlock<kGemmMiddle>(args).Run(); }
BATON_KERNEL(kGemmWide.threads())
void GemmWideKernel(GemmArgs args) { GemmBlock<kGemmWide>(args).Run(); }

// Rows of `from` to shared memory, zeros past the end.
BATON_DEVICE void LoadF32(const Shared<float>& to, const Global<const float>& from, uint32_t rows,
                          uint32_t first_row, uint32_t end_row, uint32_t first_input,
                          uint32_t num_inputs) {
  constexpr uint32_t kChunks = GemmF32Shape::kInputs / 4;
  for (uint32_t i = ThreadIndex(); i < rows * kChunks; i += GemmF32Shape::kThreads) {
    const uint32_t row = i / kChunks, input = first_input + i % kChunks * 4;
    Vec16 four = {};
    if (first_row + row < end_row && input < num_inputs) {
      four = from.Load16(size_t{first_row + row} * num_inputs + input);
    }
    to.Store16(row * GemmF32Shape::kStride + i % kChunks * 4, four);
  }
}

BATON_KERNEL(GemmF32Shape::kThreads)
void GemmF32Kernel(GemmArgs args) {
  using Shape = GemmF32Shape;
  SharedArena arena;
  const Shared<float> x = arena.Take<float>(Shape::kTokens * Shape::kStride);
  const Shared<float> w = arena.Take<float>(Shape::kOutputs * Shape::kStride);
  const Global<const float> all_x(static_cast<const float*>(args.x)),
      all_w(static_cast<const float*>(args.w));
  const uint32_t first_token = BlockX() * Shape::kTokens, num_inputs = uint32_t(args.num_inputs);
  const uint32_t first_output = BlockY() * Shape::kOutputs;
  const uint32_t token = ThreadIndex() / 8, output = ThreadIndex() % 8;  // and 8, 16, 24 further
  float sums[4] = {};
  for (uint32_t input = 0; input < num_inputs; input += Shape::kInputs) {
    LoadF32(x, all_x, Shape::kTokens, first_token, uint32_t(args.num_tokens), input, num_inputs);
    LoadF32(w, all_w, Shape::kOutputs, first_output, uint32_t(args.num_outputs), input, num_inputs);
    SyncBlock();  // the tiles are there
    for (uint32_t k = 0; k < Shape::kInputs; k += 4) {
      float a[4];
      Unpack(x.Load16(token * Shape::kStride + k), a);
      BATON_UNROLL
      for (uint32_t n = 0; n < 4; ++n) {
        float b[4];
        Unpack(w.Load16((output + 8 * n) * Shape::kStride + k), b);
        BATON_UNROLL
        for (int i = 0; i < 4; ++i) sums[n] = MultiplyAdd(a[i], b[i], sums[n]);
      }
    }
    SyncBlock();  // and may be written again
  }
  BATON_UNROLL
  for (uint32_t n = 0; n < 4; ++n) {
    StoreResult(args, first_token + token, first_output + output + 8 * n, sums[n]);
  }
}

}  // namespace

Error Launch(const GemmArgs& args, const GemmPlan& plan, Stream stream) {
  switch (plan.tile) {
    case GemmTile::kNarrow:
      return LaunchKernel("gemm_bf16_narrow", GemmNarrowKernel, plan.shape, stream, args);
    case GemmTile::kMiddle:
      return LaunchKernel("gemm_bf16_middle", GemmMiddleKernel, plan.shape, stream, args);
    case GemmTile::kWide:
      return LaunchKernel("gemm_bf16_wide", GemmWideKernel, plan.shape, stream, args);
    case GemmTile::kWarpgroup:
      return LaunchOnWarpgroups(args, plan.shape, stream);
    default:
      return LaunchKernel("gemm_f32", GemmF32Kernel, plan.shape, stream, args);
  }
}

}  // namespace baton::kernels::cuda
