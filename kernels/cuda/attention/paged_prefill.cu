#include "kernels/cuda/attention/paged_prefill.h"

#include "kernels/cuda/attention/online_softmax.cuh"
#include "kernels/cuda/attention/paged_prefill_shape.h"
#include "kernels/cuda/attention/prefill_rows.cuh"
#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/mma.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/primitives/sync.cuh"

// One block of threads takes 64 query rows (prefill_rows.cuh) and walks the cache that they see in
// tiles at absolute positions, in rising order:
//
//   device memory --cp.async, one tile ahead--> ring --K--> scores --mask, softmax--> weights
//                                                   \--V--> results += weights * values
//
// with a running maximum and sum per row (online_softmax.cuh). A tile that a row does not see
// leaves the row's state as it was, so a row's bits depend neither on the rows that happen to share
// its block nor on how its prompt was cut.
//
// Each of the four warps has 16 rows. As in mma.cuh a lane's part of scores and results belongs to
// rows lane / 4 and lane / 4 + 8, columns 2 * (lane % 4) and the next one of every tile of eight.
namespace baton::kernels::cuda {
namespace {

template <int kHeadDim>
class PrefillBlock {
 public:
  static constexpr PagedPrefillShape kShape = {kHeadDim};
  static constexpr uint32_t kThreads = PagedPrefillShape::kThreads;
  static constexpr uint32_t kRows = PagedPrefillShape::kRows;
  static constexpr uint32_t kTile = kShape.tile_tokens();
  static constexpr uint32_t kChunks = kShape.chunks();
  static constexpr uint32_t kTileElements = kTile * kHeadDim;
  static constexpr uint32_t kScoreTiles = kTile / 8;
  static constexpr uint32_t kOutTiles = kHeadDim / 8;

  BATON_DEVICE explicit PrefillBlock(const PrefillKernelArgs& args)
      : args_(args),
        rows_(args),
        keys_and_values_(args.kv.base),
        q_(arena_.Take<Bf16>(kRows * kHeadDim)),
        ring_(arena_.Take<Bf16>(4 * kTileElements)) {}

  BATON_DEVICE void Run() {
    if (rows_.IsEmpty()) return;
    Place();
    LoadQueries();
    LoadTile(first_tile_);
    for (int32_t tile = first_tile_; tile < end_tile_; ++tile) {
      LoadTile(tile + 1);
      WaitCopies<1>();
      SyncBlock();  // the tile is there, and the queries
      float scores[kScoreTiles][4], factors[2];
      Score(tile, scores);
      if (NeedsMask(tile)) Mask(tile, scores);
      softmax_.Weigh(scores, args_.scale, factors);
      Rescale(factors);
      Add(tile, scores);
      SyncBlock();  // its place in the ring is free
    }
    WaitCopies<0>();
    Write();
  }

 private:
  BATON_DEVICE void Place() {
    const int32_t earliest = rows_.Position(0), latest = rows_.Position(kRows - 1);
    first_ = rows_.FirstSeen(earliest);
    end_ = latest + 1;
    first_tile_ = first_ / int32_t(kTile);
    end_tile_ = (end_ + int32_t(kTile) - 1) / int32_t(kTile);
    all_see_first_ = rows_.FirstSeen(latest);
    all_see_end_ = earliest + 1;
    BATON_UNROLL
    for (uint32_t i = 0; i < 2; ++i) positions_[i] = rows_.Position(RowOf(i));
    BATON_UNROLL
    for (uint32_t n = 0; n < kOutTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) results_[n][i] = 0;
    }
  }
  // The lane's rows, 0 and 1.
  BATON_DEVICE static uint32_t RowOf(uint32_t i) {
    return WarpIndex() * 16 + LaneIndex() / 4 + 8 * i;
  }

  // Rounds q to bf16. Rows past the end are zero, which costs nothing but their arithmetic.
  BATON_DEVICE void LoadQueries() {
    const Global<const float> q(args_.q);
    for (uint32_t i = ThreadIndex(); i < kRows * kChunks; i += kThreads) {
      const uint32_t row = i / kChunks, chunk = i % kChunks;
      float values[8] = {};
      if (rows_.IsRow(row)) {
        const size_t at = rows_.At(row) + 8 * chunk;
        float low[4], high[4];
        Unpack(q.Load16(at), low);
        Unpack(q.Load16(at + 4), high);
        BATON_UNROLL
        for (int j = 0; j < 4; ++j) values[j] = low[j], values[4 + j] = high[j];
      }
      q_.Store16(Swizzled<kChunks>(row, chunk) * 8, Pack(values));
    }
  }

  // Begins the copies of a tile's K and V. Tokens that no row of the block sees are zero: a weight
  // of zero must not meet what happens to lie there.
  BATON_DEVICE void LoadTile(int32_t tile) {
    if (tile < end_tile_) {
      const Global<const int32_t> table(args_.block_tables + size_t{BlockZ()} * args_.blocks_max);
      for (uint32_t i = ThreadIndex(); i < kTile * kChunks; i += kThreads) {
        const uint32_t row = i / kChunks, chunk = i % kChunks;
        const int32_t token = tile * int32_t(kTile) + int32_t(row);
        const bool is_seen = token >= first_ && token < end_;
        size_t key = 0, value = 0;
        if (is_seen) {
          const uint32_t block = uint32_t(int32_t(table[uint32_t(token) >> args_.kv.token_shift]));
          const uint32_t inside = uint32_t(token) & (args_.kv.block_tokens - 1);
          key = args_.kv.Row(block, 0, BlockY(), inside) + 8 * chunk;
          value = args_.kv.Row(block, 1, BlockY(), inside) + 8 * chunk;
        }
        const uint32_t to = KeysAt(tile) + Swizzled<kChunks>(row, chunk) * 8;
        CopyAsync16OrZero(ring_, to, keys_and_values_, key, is_seen);
        CopyAsync16OrZero(ring_, to + kTileElements, keys_and_values_, value, is_seen);
      }
    }
    CommitCopies();
  }
  // The ring has two places, each for the keys of a tile and then its values.
  BATON_DEVICE static uint32_t KeysAt(int32_t tile) {
    return uint32_t(tile) % 2 * 2 * kTileElements;
  }

  // Products of the warp's rows with the tile's keys, sixteen of head_dim at a time.
  BATON_DEVICE void Score(int32_t tile, float (&scores)[kScoreTiles][4]) const {
    const uint32_t lane = LaneIndex();
    BATON_UNROLL
    for (uint32_t n = 0; n < kScoreTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    BATON_UNROLL_BY_8
    for (uint32_t k = 0; k < kHeadDim / 16; ++k) {
      uint32_t a[4];
      LoadTiles(a, q_, Swizzled<kChunks>(WarpIndex() * 16 + lane % 16, 2 * k + lane / 16) * 8);
      BATON_UNROLL
      for (uint32_t n = 0; n < kScoreTiles; n += 2) {
        uint32_t b[4];
        const uint32_t token = n * 8 + lane / 16 * 8 + lane % 8;
        LoadTiles(b, ring_, KeysAt(tile) + Swizzled<kChunks>(token, 2 * k + lane / 8 % 2) * 8);
        MultiplyTile(scores[n], a, {b[0], b[1]});
        MultiplyTile(scores[n + 1], a, {b[2], b[3]});
      }
    }
  }

  // False for the tiles of which every row sees every token: most of a long context.
  BATON_DEVICE bool NeedsMask(int32_t tile) const {
    const int32_t begin = tile * int32_t(kTile);
    return begin < all_see_first_ || begin + int32_t(kTile) > all_see_end_;
  }

  BATON_DEVICE void Mask(int32_t tile, float (&scores)[kScoreTiles][4]) const {
    const int32_t column = tile * int32_t(kTile) + int32_t(LaneIndex() % 4 * 2);
    BATON_UNROLL
    for (uint32_t n = 0; n < kScoreTiles; ++n) {
      BATON_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        const int32_t token = column + int32_t(n * 8 + i % 2), position = positions_[i / 2];
        const bool is_seen = token <= position && token >= rows_.FirstSeen(position);
        if (!is_seen) scores[n][i] = kMinusInfinity;
      }
    }
  }

  BATON_DEVICE void Rescale(const float (&factors)[2]) {
    BATON_UNROLL
    for (uint32_t n = 0; n < kOutTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) results_[n][i] *= factors[i / 2];
    }
  }

  // Adds the weighted values. A lane's weights are already where the product wants them.
  BATON_DEVICE void Add(int32_t tile, const float (&weights)[kScoreTiles][4]) {
    const uint32_t lane = LaneIndex(), values = KeysAt(tile) + kTileElements;
    BATON_UNROLL
    for (uint32_t k = 0; k < kTile / 16; ++k) {
      const float(&low)[4] = weights[2 * k];
      const float(&high)[4] = weights[2 * k + 1];
      const uint32_t a[4] = {PackBf16(low[0], low[1]), PackBf16(low[2], low[3]),
                             PackBf16(high[0], high[1]), PackBf16(high[2], high[3])};
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutTiles; n += 2) {
        uint32_t b[4];
        const uint32_t token = k * 16 + lane % 16;
        LoadTilesTransposed(b, ring_, values + Swizzled<kChunks>(token, n + lane / 16) * 8);
        MultiplyTile(results_[n], a, {b[0], b[1]});
        MultiplyTile(results_[n + 1], a, {b[2], b[3]});
      }
    }
  }

  BATON_DEVICE void Write() const {
    BATON_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      const float sum = softmax_.Sum(i);
      if (!rows_.IsRow(RowOf(i))) continue;
      const size_t at = rows_.At(RowOf(i)) + LaneIndex() % 4 * 2;
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutTiles; ++n) {
        StorePair(args_, at + 8 * n, Divide(results_[n][2 * i], sum),
                  Divide(results_[n][2 * i + 1], sum));
      }
    }
  }

  const PrefillKernelArgs& args_;
  const PrefillRows<kRows> rows_;
  SharedArena arena_;
  Global<const Bf16> keys_and_values_;
  Shared<Bf16> q_;     // [64][D], swizzled
  Shared<Bf16> ring_;  // [2][K|V][tile][D], swizzled
  OnlineSoftmax softmax_;
  int32_t first_, end_;                  // positions that some row of the block sees
  int32_t first_tile_, end_tile_;        // the tiles that hold them
  int32_t all_see_first_, all_see_end_;  // positions that every row sees; may be none
  int32_t positions_[2];                 // of the lane's rows
  float results_[kOutTiles][4];          // not yet divided by the sum of weights
};

template <int kHeadDim>
BATON_KERNEL(PagedPrefillShape::kThreads)
void PrefillKernel(PrefillKernelArgs args) {
  PrefillBlock<kHeadDim>(args).Run();
}

}  // namespace

Error Launch(const PagedPrefillArgs& args, const PagedPrefillPlan& plan, Stream stream) {
  if (plan.on_warpgroups) return LaunchOnWarpgroups(args, plan.shape, stream);
  const PrefillKernelArgs kernel_args = KernelArgsOf(args);
  constexpr const char* kName = "paged_prefill";
  switch (args.kv.head_dim) {
    case 64:
      return LaunchKernel(kName, PrefillKernel<64>, plan.shape, stream, kernel_args);
    case 96:
      return LaunchKernel(kName, PrefillKernel<96>, plan.shape, stream, kernel_args);
    case 128:
      return LaunchKernel(kName, PrefillKernel<128>, plan.shape, stream, kernel_args);
    default:
      return LaunchKernel(kName, PrefillKernel<256>, plan.shape, stream, kernel_args);
  }
}

}  // namespace baton::kernels::cuda
