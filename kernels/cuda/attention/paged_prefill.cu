#include "kernels/cuda/attention/paged_prefill.h"

#include "kernels/cuda/attention/online_softmax.cuh"
#include "kernels/cuda/attention/paged_prefill_shape.h"
#include "kernels/cuda/attention/prefill_lane.cuh"
#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/mma.cuh"
#include "kernels/cuda/primitives/quantized.cuh"
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
// A tile of a quantized pool lands beside the ring's one place and is widened into it: every fp8
// and every int8 is a bf16. A token's scales meet its scores and its weights:
//
//   device memory --cp.async--> bytes [2 tiles] --widened--> bf16 [1 tile] --> as above
//
// Each of the four warps has 16 rows (prefill_lane.cuh).
namespace baton::kernels::cuda {
namespace {

template <typename T>
struct PoolPrefillArgs {
  PrefillKernelArgs call;
  KvLayer<const T> kv;
};

template <typename T, int kHeadDim>
class PrefillBlock {
 public:
  static constexpr PagedPrefillShape kShape = {kHeadDim, kIsQuantized<T>};
  static constexpr uint32_t kThreads = PagedPrefillShape::kThreads;
  static constexpr uint32_t kRows = PagedPrefillShape::kRows;
  static constexpr uint32_t kTile = kShape.tile_tokens();
  static constexpr uint32_t kChunks = kShape.chunks();
  static constexpr uint32_t kPoolChunks = kShape.pool_chunks();
  static constexpr uint32_t kPoolElements = kElementsPerVec16<T>;
  static constexpr uint32_t kTileElements = kTile * kHeadDim;
  static constexpr uint32_t kRingElements = kShape.ring_elements();
  static constexpr uint32_t kScales = kShape.scales();
  static constexpr uint32_t kScoreTiles = kTile / 8;
  static constexpr uint32_t kOutTiles = kHeadDim / 8;

  BATON_DEVICE explicit PrefillBlock(const PoolPrefillArgs<T>& args)
      : args_(args.call),
        kv_(args.kv),
        lane_(args.call),
        keys_and_values_(args.kv.base),
        q_(arena_.template Take<Bf16>(kRows * kHeadDim)),
        ring_(arena_.template Take<Bf16>(kRingElements)),
        landing_(ring_.template As<T>()),
        scales_(arena_.template Take<float>(kScales)) {}

  BATON_DEVICE void Run() {
    if (lane_.rows().IsEmpty()) return;
    lane_.Place();
    const int32_t first_tile = lane_.first_tile(), end_tile = lane_.end_tile();
    ClearResults();
    LoadQueries();
    LoadTile(first_tile);
    if constexpr (kIsQuantized<T>) LoadScale(first_tile);
    for (int32_t tile = first_tile; tile < end_tile; ++tile) {
      LoadTile(tile + 1);
      WaitCopies<1>();
      if constexpr (kIsQuantized<T>) Widen(tile);
      SyncBlock();  // the tile is there, and the queries
      float scores[kScoreTiles][4], factors[2];
      Score(tile, scores);
      if constexpr (kIsQuantized<T>) ScaleBy(0, scores);
      lane_.Mask(tile, scores);
      softmax_.Weigh(scores, args_.scale, factors);
      lane_.Rescale(factors, results_);
      if constexpr (kIsQuantized<T>) ScaleBy(1, scores);
      Add(tile, scores);
      SyncBlock();  // its place in the ring is free
    }
    WaitCopies<0>();
    lane_.Write(softmax_, results_);
  }

 private:
  BATON_DEVICE void ClearResults() {
    BATON_UNROLL
    for (uint32_t n = 0; n < kOutTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) results_[n][i] = 0;
    }
  }
  // Rounds q to bf16. Rows past the end are zero, which costs nothing but their arithmetic.
  BATON_DEVICE void LoadQueries() {
    const Global<const float> q(args_.q);
    for (uint32_t i = ThreadIndex(); i < kRows * kChunks; i += kThreads) {
      const uint32_t row = i / kChunks, chunk = i % kChunks;
      float values[8] = {};
      if (lane_.rows().IsRow(row)) {
        const size_t at = lane_.rows().At(row) + 8 * chunk;
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
    if (tile < lane_.end_tile()) {
      const Global<const int32_t> table(args_.block_tables + size_t{BlockZ()} * args_.blocks_max);
      for (uint32_t i = ThreadIndex(); i < kTile * kPoolChunks; i += kThreads) {
        const uint32_t row = i / kPoolChunks, chunk = i % kPoolChunks;
        const int32_t token = tile * int32_t(kTile) + int32_t(row);
        const bool is_seen = lane_.IsSeen(token);
        size_t key = 0, value = 0;
        if (is_seen) {
          const uint32_t block = uint32_t(int32_t(table[uint32_t(token) >> kv_.token_shift]));
          const uint32_t inside = uint32_t(token) & (kv_.block_tokens - 1);
          key = kv_.Row(block, 0, BlockY(), inside) + kPoolElements * chunk;
          value = kv_.Row(block, 1, BlockY(), inside) + kPoolElements * chunk;
        }
        const uint32_t to = LandingAt(tile, row, chunk);
        CopyAsync16OrZero(landing_, to, keys_and_values_, key, is_seen);
        CopyAsync16OrZero(landing_, to + kTileElements, keys_and_values_, value, is_seen);
      }
    }
    CommitCopies();
  }
  // The ring has two places, each for the keys of a tile and then its values; or one, and two of
  // half the size behind it where bytes land.
  BATON_DEVICE static uint32_t KeysAt(int32_t tile) {
    return kIsQuantized<T> ? 0 : uint32_t(tile) % 2 * 2 * kTileElements;
  }
  // Where a key's chunk lands, in elements of the pool; the value's is kTileElements further.
  BATON_DEVICE static uint32_t LandingAt(int32_t tile, uint32_t row, uint32_t chunk) {
    if constexpr (kIsQuantized<T>) {
      const uint32_t place = 4 * kTileElements + uint32_t(tile) % 2 * 2 * kTileElements;
      return place + (row * kPoolChunks + chunk) * kPoolElements;
    } else {
      return KeysAt(tile) + Swizzled<kChunks>(row, chunk) * 8;
    }
  }

  // Every thread widens what it has copied itself, so that only itself has to wait.
  BATON_DEVICE void Widen(int32_t tile) {
    for (uint32_t i = ThreadIndex(); i < kTile * kPoolChunks; i += kThreads) {
      const uint32_t row = i / kPoolChunks, chunk = i % kPoolChunks;
      BATON_UNROLL
      for (uint32_t part = 0; part < 2; ++part) {
        float values[kPoolElements];
        UnpackAs<T>(landing_.Load16(LandingAt(tile, row, chunk) + part * kTileElements), values);
        BATON_UNROLL
        for (uint32_t half = 0; half < kPoolElements / 8; ++half) {
          float eight[8];
          BATON_UNROLL
          for (uint32_t e = 0; e < 8; ++e) eight[e] = values[8 * half + e];
          const uint32_t to = Swizzled<kChunks>(row, 2 * chunk + half) * 8;
          ring_.Store16(part * kTileElements + to, Pack(eight));
        }
      }
    }
    if (ThreadIndex() < 2 * kTile) scales_[ThreadIndex()] = next_scale_;
    LoadScale(tile + 1);
  }
  // Begins to load the scale that the thread has of a tile's: of K in the first half of them.
  BATON_DEVICE void LoadScale(int32_t tile) {
    next_scale_ = 0;
    const int32_t token = tile * int32_t(kTile) + int32_t(ThreadIndex() % kTile);
    if (ThreadIndex() >= 2 * kTile || !lane_.IsSeen(token)) return;
    const Global<const int32_t> table(args_.block_tables + size_t{BlockZ()} * args_.blocks_max);
    const uint32_t block = uint32_t(int32_t(table[uint32_t(token) >> kv_.token_shift]));
    const auto scales = kv_.Scales(block, ThreadIndex() / kTile, BlockY());
    next_scale_ = scales[uint32_t(token) & (kv_.block_tokens - 1)];
  }
  // Scores by their keys' scales, or weights by their values'.
  BATON_DEVICE void ScaleBy(uint32_t part, float (&scores)[kScoreTiles][4]) const {
    const uint32_t column = part * kTile + LaneIndex() % 4 * 2;
    BATON_UNROLL
    for (uint32_t n = 0; n < kScoreTiles; ++n) {
      const float low = scales_[column + n * 8], high = scales_[column + n * 8 + 1];
      scores[n][0] *= low, scores[n][1] *= high;
      scores[n][2] *= low, scores[n][3] *= high;
    }
  }

  // Products of the warp's rows with the tile's keys, sixteen of head_dim at a time.
  BATON_DEVICE void Score(int32_t tile, float (&scores)[kScoreTiles][4]) const {
    const uint32_t lane = LaneIndex();
    BATON_UNROLL
    for (uint32_t n = 0; n < kScoreTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    BATON_UNROLL_BY(8)
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

  const PrefillKernelArgs& args_;
  const KvLayer<const T>& kv_;
  PrefillLane<kRows, int32_t(kTile)> lane_;
  SharedArena arena_;
  Global<const T> keys_and_values_;
  Shared<Bf16> q_;     // [64][D], swizzled
  Shared<Bf16> ring_;  // [2][K|V][tile][D], swizzled; of quantized pools [1], and bytes behind it
  Shared<T> landing_;  // the same memory
  Shared<float> scales_;  // [K|V][tile], of quantized pools
  OnlineSoftmax softmax_;
  float next_scale_;             // the thread's, of the next tile
  float results_[kOutTiles][4];  // not yet divided by the sum of weights
};

template <typename T, int kHeadDim>
BATON_KERNEL(PagedPrefillShape::kThreads)
void PrefillKernel(PoolPrefillArgs<T> args) {
  PrefillBlock<T, kHeadDim>(args).Run();
}

template <typename T>
Error LaunchFor(const PagedPrefillArgs& args, const LaunchShape& shape, Stream stream) {
  const PoolPrefillArgs<T> kernel_args = {KernelArgsOf(args),
                                          LayerOf<const T>(args.kv, args.layer)};
  constexpr const char* kName = "paged_prefill";
  switch (args.kv.head_dim) {
    case 64:
      return LaunchKernel(kName, PrefillKernel<T, 64>, shape, stream, kernel_args);
    case 96:
      return LaunchKernel(kName, PrefillKernel<T, 96>, shape, stream, kernel_args);
    case 128:
      return LaunchKernel(kName, PrefillKernel<T, 128>, shape, stream, kernel_args);
    default:
      return LaunchKernel(kName, PrefillKernel<T, 256>, shape, stream, kernel_args);
  }
}

}  // namespace

Error Launch(const PagedPrefillArgs& args, const PagedPrefillPlan& plan, Stream stream) {
  if (plan.on_warpgroups) return LaunchOnWarpgroups(args, plan.shape, stream);
  switch (args.kv.dtype) {
    case DType::kFp8:
      return LaunchFor<Fp8>(args, plan.shape, stream);
    case DType::kInt8:
      return LaunchFor<Int8>(args, plan.shape, stream);
    default:
      return LaunchFor<Bf16>(args, plan.shape, stream);
  }
}

}  // namespace baton::kernels::cuda
