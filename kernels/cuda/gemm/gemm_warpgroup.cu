#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/gemm/gemm_result.cuh"
#include "kernels/cuda/gemm/gemm_shape.h"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/phase_barrier.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warpgroup.cuh"

// A block of threads makes one tile of the result, walking K from 0 on. One thread copies, two
// warpgroups multiply, and two barriers per stage stand between them:
//
//   device memory --boxes of x and W--> [ring of stages] --full--> products --empty--> the ring
//
// Rows, columns and inputs past the end are zeros, by the copies.
namespace baton::kernels::cuda {
namespace {

struct GroupGemmArgs {
  GemmArgs call;
  BoxSource x, w;
};

class GroupGemmBlock {
 public:
  using Shape = GemmWarpgroupShape;

  BATON_DEVICE explicit GroupGemmBlock(const GroupGemmArgs& args)
      : args_(args),
        first_token_(BlockX() * Shape::kTokens),
        first_output_(BlockY() * Shape::kOutputs),
        num_stages_((uint32_t(args.call.num_inputs) + Shape::kInputs - 1) / Shape::kInputs),
        ring_(Aligned().Take<Bf16>(Shape::kStages * Shape::kStageElements)),
        full_(arena_.Take<uint64_t>(Shape::kStages)),
        empty_(arena_.Take<uint64_t>(Shape::kStages)) {}

  BATON_DEVICE void Run() {
    if (ThreadIndex() == 0) {
      for (uint32_t i = 0; i < Shape::kStages; ++i) {
        MakeBarrier(full_, i, 1);
        MakeBarrier(empty_, i, 4 * Shape::kConsumers);
      }
      PublishBarriers();
    }
    SyncBlock();  // the barriers are there
    if (WarpIndex() / 4 == Shape::kConsumers) {
      GiveRegisters<40>();
      if (ThreadIndex() == 128 * Shape::kConsumers) Copy();
    } else {
      TakeRegisters<232>();
      Multiply();
      Write();
    }
  }

 private:
  BATON_DEVICE SharedArena& Aligned() {
    arena_.AlignForSwizzle();
    return arena_;
  }
  BATON_DEVICE static uint32_t PlaceOf(uint32_t stage) { return stage % Shape::kStages; }
  BATON_DEVICE static uint32_t ParityOf(uint32_t stage) { return stage / Shape::kStages % 2; }

  BATON_DEVICE void Copy() const {
    for (uint32_t stage = 0; stage < num_stages_; ++stage) {
      const uint32_t place = PlaceOf(stage), to = place * Shape::kStageElements;
      const int32_t input = int32_t(stage * Shape::kInputs);
      WaitPhase(empty_, place, ParityOf(stage) ^ 1);
      ArriveExpecting(full_, place, Shape::kStageElements * 2);
      CopyBoxAsync(args_.x, input, int32_t(first_token_), ring_, to, full_, place);
      CopyBoxAsync(args_.w, input, int32_t(first_output_), ring_,
                   to + Shape::kTokens * Shape::kInputs, full_, place);
    }
  }

  // The first stage is on its own: what is multiplied over and over must not be defined by anything
  // but products, or the compiler waits after each of them.
  BATON_DEVICE void Multiply() {
    MultiplyStage<true>(0);
    for (uint32_t stage = 1; stage < num_stages_; ++stage) {
      MultiplyStage<false>(stage);
      WaitProducts<1>();  // those of the stage before
      Free(stage - 1);
    }
    WaitProducts<0>(results_);
  }
  template <bool kIsFirst>
  BATON_DEVICE void MultiplyStage(uint32_t stage) {
    const uint32_t place = PlaceOf(stage);
    WaitPhase(full_, place, ParityOf(stage));
    const uint32_t x = place * Shape::kStageElements + WarpIndex() / 4 * 64 * Shape::kInputs;
    const uint32_t w = place * Shape::kStageElements + Shape::kTokens * Shape::kInputs;
    const SharedRows of_x = {AddressOf(ring_, x), kRowBytes};
    const SharedRows of_w = {AddressOf(ring_, w), kRowBytes};
    BeginProducts();
    BATON_UNROLL
    for (uint32_t k = 0; k < Shape::kInputs; k += 16) {
      MultiplyGroup(results_, of_x.AlongInputs(k), of_w.AlongInputs(k), !kIsFirst || k > 0);
    }
    CommitProducts();
  }
  BATON_DEVICE void Free(uint32_t stage) const {
    SyncWarp();  // all lanes have waited
    if (LaneIndex() == 0) Arrive(empty_, PlaceOf(stage));
  }

  BATON_DEVICE void Write() const {
    const uint32_t token = first_token_ + WarpIndex() * 16 + LaneIndex() / 4;
    const uint32_t output = first_output_ + LaneIndex() % 4 * 2;
    BATON_UNROLL
    for (uint32_t n = 0; n < kTiles; ++n) {
      BATON_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        StoreResult(args_.call, token + i / 2 * 8, output + 8 * n + i % 2, results_[n][i]);
      }
    }
  }

  static constexpr uint32_t kTiles = Shape::kOutputs / 8;
  static constexpr uint32_t kRowBytes = Shape::kInputs * 2;

  const GroupGemmArgs& args_;
  const uint32_t first_token_, first_output_, num_stages_;
  SharedArena arena_;
  Shared<Bf16> ring_;  // [stages][tokens of x, then outputs of W][inputs], swizzled
  Shared<uint64_t> full_, empty_;
  float results_[kTiles][4];
};

BATON_KERNEL(GemmWarpgroupShape::kThreads)
void GemmWarpgroupKernel(BATON_CONSTANT_ARGUMENT GroupGemmArgs args) { GroupGemmBlock(args).Run(); }

Error BoxesOf(const void* base, int32_t rows, int32_t inputs, uint32_t box_rows, BoxSource* boxes) {
  return MakeBoxSource({.base = base,
                        .rows = uint64_t(rows),
                        .columns = uint64_t(inputs),
                        .row_bytes = uint64_t(inputs) * 2,
                        .box_rows = box_rows,
                        .box_columns = GemmWarpgroupShape::kInputs},
                       boxes);
}

}  // namespace

Error LaunchOnWarpgroups(const GemmArgs& args, const LaunchShape& shape, Stream stream) {
  using Shape = GemmWarpgroupShape;
  GroupGemmArgs group = {.call = args};
  if (Error error = BoxesOf(args.x, args.num_tokens, args.num_inputs, Shape::kTokens, &group.x)) {
    return error;
  }
  if (Error error = BoxesOf(args.w, args.num_outputs, args.num_inputs, Shape::kOutputs, &group.w)) {
    return error;
  }
  return LaunchKernel("gemm_bf16_warpgroup", GemmWarpgroupKernel, shape, stream, group);
}

}  // namespace baton::kernels::cuda
