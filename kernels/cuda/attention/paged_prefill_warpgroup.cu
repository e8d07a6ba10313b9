#include "kernels/cuda/attention/online_softmax.cuh"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/attention/paged_prefill_shape.h"
#include "kernels/cuda/attention/prefill_lane.cuh"
#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/phase_barrier.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warpgroup.cuh"

// What paged_prefill.cu does, on warpgroups: two of them have 64 query rows each, one warp of a
// third copies. KV blocks are boxes of the pool, so a tile arrives in as many copies as it has
// blocks:
//
//   pool --boxes of K--> [2 tiles] --full--> scores --softmax--> weights
//        --boxes of V--> [2 tiles] --full--> results += weights * values --empty--> the next tiles
//
// The products of the next tile's scores and of this tile's values are under way together, and the
// next tile's softmax while the values still are. What a row is summed from, and in which order, is
// as in paged_prefill.cu with tiles of another length.
namespace baton::kernels::cuda {
namespace {

struct GroupPrefillArgs {
  PrefillKernelArgs call;
  KvLayer<const Bf16> kv;
  BoxSource pool;  // the layer's, a row per token and head
};

template <int kHeadDim>
class GroupPrefillBlock {
 public:
  static constexpr PagedPrefillGroupShape kShape = {kHeadDim};
  static constexpr uint32_t kRows = PagedPrefillGroupShape::kRows;
  static constexpr uint32_t kConsumers = PagedPrefillGroupShape::kConsumers;
  static constexpr uint32_t kTile = kShape.tile_tokens();
  static constexpr uint32_t kPanel = kShape.panel();  // of head_dim, in one swizzled row
  static constexpr uint32_t kPanels = kHeadDim / kPanel;
  static constexpr uint32_t kRowBytes = 2 * kPanel;
  static constexpr uint32_t kTileElements = kTile * kHeadDim;
  static constexpr uint32_t kScoreTiles = kTile / 8;
  static constexpr uint32_t kOutTiles = kHeadDim / 8;
  // Places in barriers_: of the two tiles of K and V each, when they are there and when they are
  // free, and one for a tile that the copying warp itself still writes to.
  enum : uint32_t { kFull = 0, kEmpty = 4, kLanded = 8, kBarriers = 9 };

  BATON_DEVICE explicit GroupPrefillBlock(const GroupPrefillArgs& args)
      : args_(args.call),
        kv_(args.kv),
        pool_(args.pool),
        lane_(args.call),
        q_(Aligned().template Take<Bf16>(kRows * kHeadDim)),
        ring_(arena_.Take<Bf16>(4 * kTileElements)),
        barriers_(arena_.Take<uint64_t>(kBarriers)) {}

  BATON_DEVICE void Run() {
    if (lane_.rows().IsEmpty()) return;
    lane_.Place();
    first_tile_ = lane_.first_tile();
    end_tile_ = lane_.end_tile();
    if (ThreadIndex() == 0) MakeBarriers();
    if (WarpIndex() < 4 * kConsumers) LoadQueries();
    SyncBlock();  // the barriers are there, and the queries
    if (WarpIndex() < 4 * kConsumers) {
      TakeRegisters<232>();
      Attend();
    } else {
      GiveRegisters<40>();
      if (WarpIndex() == 4 * kConsumers) Copy();
    }
  }

 private:
  BATON_DEVICE SharedArena& Aligned() {
    arena_.AlignForSwizzle();
    return arena_;
  }
  BATON_DEVICE void MakeBarriers() const {
    BATON_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      MakeBarrier(barriers_, kFull + i, 1);
      MakeBarrier(barriers_, kEmpty + i, 4 * kConsumers);
    }
    MakeBarrier(barriers_, kLanded, 1);
    PublishBarriers();
  }

  // Where 8 elements of a row lie among `rows` rows, which are cut into panels.
  BATON_DEVICE static uint32_t PlaceOf(uint32_t rows, uint32_t row, uint32_t chunk) {
    const uint32_t in_panel = chunk % (kPanel / 8), panel = chunk / (kPanel / 8);
    return SwizzledAddress((panel * rows + row) * kRowBytes + 16 * in_panel, kRowBytes) / 2;
  }

  // Rounds q to bf16. Rows past the end are zero, which costs nothing but their arithmetic.
  BATON_DEVICE void LoadQueries() const {
    const Global<const float> q(args_.q);
    constexpr uint32_t kChunks = kHeadDim / 8;
    for (uint32_t i = ThreadIndex(); i < kRows * kChunks; i += 128 * kConsumers) {
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
      q_.Store16(PlaceOf(kRows, row, chunk), Pack(values));
    }
    FenceForEngines();  // products read the queries
  }

  // ---- The copying warp.

  // K (part 0) or V (part 1) of a tile has this place in the ring, and these barriers.
  BATON_DEVICE uint32_t SlotOf(int32_t tile, uint32_t part) const {
    return uint32_t(tile - first_tile_) % 2 * 2 + part;
  }
  BATON_DEVICE uint32_t ParityOf(int32_t tile) const {
    return uint32_t(tile - first_tile_) / 2 % 2;
  }

  BATON_DEVICE void Copy() {
    for (int32_t tile = first_tile_; tile < end_tile_; ++tile) {
      for (uint32_t part = 0; part < 2; ++part) {
        WaitPhase(barriers_, kEmpty + SlotOf(tile, part), ParityOf(tile) ^ 1);
        const int32_t begin = tile * int32_t(kTile), end = begin + int32_t(kTile);
        const bool is_whole = begin >= lane_.first() && end <= lane_.end();
        if (part == 0 || is_whole) {
          CopyBlocks(tile, part, kFull + SlotOf(tile, part));
        } else {
          CopyBlocks(tile, part, kLanded);
          WaitPhase(barriers_, kLanded, landed_++ % 2);
          ClearUnseen(tile);
          FenceForEngines();
          SyncWarp();  // all of it is clear
          if (LaneIndex() == 0) Arrive(barriers_, kFull + SlotOf(tile, part));
        }
      }
    }
  }

  // The tile's blocks of which some row sees something. Of the others nothing is copied: their
  // scores are masked, whatever lies there.
  BATON_DEVICE void CopyBlocks(int32_t tile, uint32_t part, uint32_t barrier) const {
    const uint32_t shift = kv_.token_shift, block_tokens = kv_.block_tokens;
    const uint32_t begin = uint32_t(Larger(lane_.first(), tile * int32_t(kTile))) >> shift;
    const uint32_t last = uint32_t(Smaller(lane_.end(), (tile + 1) * int32_t(kTile))) - 1;
    const uint32_t end = (last >> shift) + 1;
    if (LaneIndex() == 0) {
      ArriveExpecting(barriers_, barrier, (end - begin) * block_tokens * kHeadDim * 2);
    }
    SyncWarp();  // the bytes are announced
    const Global<const int32_t> table(args_.block_tables + size_t{BlockZ()} * args_.blocks_max);
    for (uint32_t i = LaneIndex(); i < (end - begin) * kPanels; i += kWarpLanes) {
      const uint32_t index = begin + i / kPanels, panel = i % kPanels;
      const uint32_t block = uint32_t(int32_t(table[index]));
      const uint32_t row = ((block * 2 + part) * kv_.num_kv_heads + BlockY()) << shift;
      const uint32_t inside = (index << shift) - uint32_t(tile) * kTile;
      CopyBoxAsync(pool_, int32_t(panel * kPanel), int32_t(row), ring_,
                   SlotOf(tile, part) * kTileElements + (panel * kTile + inside) * kPanel,
                   barriers_, barrier);
    }
  }

  // Values that no row sees become zero: a weight of zero must not meet what happens to lie there.
  BATON_DEVICE void ClearUnseen(int32_t tile) const {
    constexpr uint32_t kChunks = kHeadDim / 8;
    const Vec16 zeros = {};
    for (uint32_t row = 0; row < kTile; ++row) {
      const int32_t token = tile * int32_t(kTile) + int32_t(row);
      if (lane_.IsSeen(token)) continue;
      for (uint32_t chunk = LaneIndex(); chunk < kChunks; chunk += kWarpLanes) {
        ring_.Store16(SlotOf(tile, 1) * kTileElements + PlaceOf(kTile, row, chunk), zeros);
      }
    }
  }

  // ---- The multiplying warpgroups.

  BATON_DEVICE void Attend() {
    float results[kOutTiles][4], scores[kScoreTiles][4], factors[2];
    uint32_t weights[kTile / 16][4];
    WaitPhase(barriers_, kFull + SlotOf(first_tile_, 0), 0);
    Score(first_tile_, scores);
    WaitProducts<0>(scores);
    Free(kEmpty + SlotOf(first_tile_, 0));
    Weigh(first_tile_, scores, factors);
    PackWeights(scores, weights);
    bool is_first = true;
    for (int32_t tile = first_tile_; tile + 1 < end_tile_; ++tile) {
      const int32_t next = tile + 1;
      WaitPhase(barriers_, kFull + SlotOf(next, 0), ParityOf(next));
      Score(next, scores);
      WaitPhase(barriers_, kFull + SlotOf(tile, 1), ParityOf(tile));
      Add(tile, weights, results, is_first);
      is_first = false;
      WaitProducts<1>(scores);  // the values may still be under way
      Free(kEmpty + SlotOf(next, 0));
      Weigh(next, scores, factors);
      WaitProducts<0>(results);
      Free(kEmpty + SlotOf(tile, 1));
      lane_.Rescale(factors, results);
      PackWeights(scores, weights);
    }
    WaitPhase(barriers_, kFull + SlotOf(end_tile_ - 1, 1), ParityOf(end_tile_ - 1));
    Add(end_tile_ - 1, weights, results, is_first);
    WaitProducts<0>(results);
    lane_.Write(softmax_, results);
  }

  BATON_DEVICE void Free(uint32_t barrier) const {
    SyncWarp();  // all lanes have waited
    if (LaneIndex() == 0) Arrive(barriers_, barrier);
  }

  // Orders the products of the warpgroup's rows with the tile's keys.
  BATON_DEVICE void Score(int32_t tile, float (&scores)[kScoreTiles][4]) const {
    const uint32_t keys = SlotOf(tile, 0) * kTileElements, rows = WarpIndex() / 4 * 64;
    BeginProducts(scores);
    BATON_UNROLL
    for (uint32_t panel = 0; panel < kPanels; ++panel) {
      const SharedRows a = {AddressOf(q_, (panel * kRows + rows) * kPanel), kRowBytes};
      const SharedRows b = {AddressOf(ring_, keys + panel * kTile * kPanel), kRowBytes};
      BATON_UNROLL
      for (uint32_t k = 0; k < kPanel; k += 16) {
        MultiplyGroup(scores, a.AlongInputs(k), b.AlongInputs(k), panel + k > 0);
      }
    }
    CommitProducts();
  }

  // Scores that are there become weights.
  BATON_DEVICE void Weigh(int32_t tile, float (&scores)[kScoreTiles][4], float (&factors)[2]) {
    lane_.Mask(tile, scores);
    softmax_.Weigh(scores, args_.scale, factors);
  }

  // As the left operand of the products with values.
  BATON_DEVICE static void PackWeights(const float (&scores)[kScoreTiles][4],
                                       uint32_t (&weights)[kTile / 16][4]) {
    BATON_UNROLL
    for (uint32_t k = 0; k < kTile / 16; ++k) {
      const float(&low)[4] = scores[2 * k];
      const float(&high)[4] = scores[2 * k + 1];
      weights[k][0] = PackBf16(low[0], low[1]);
      weights[k][1] = PackBf16(low[2], low[3]);
      weights[k][2] = PackBf16(high[0], high[1]);
      weights[k][3] = PackBf16(high[2], high[3]);
    }
  }

  // Orders the products of weights and the tile's values, added to the results if there are any.
  BATON_DEVICE void Add(int32_t tile, const uint32_t (&weights)[kTile / 16][4],
                        float (&results)[kOutTiles][4], bool is_first) const {
    const SharedRows values = {AddressOf(ring_, SlotOf(tile, 1) * kTileElements), kRowBytes};
    BeginProducts(results);
    BATON_UNROLL
    for (uint32_t k = 0; k < kTile / 16; ++k) {
      MultiplyGroupByRows(results, weights[k], values.AlongOutputs(16 * k, kTile * kRowBytes),
                          !is_first || k > 0);
    }
    CommitProducts();
  }

  const PrefillKernelArgs& args_;
  const KvLayer<const Bf16>& kv_;
  const BoxSource& pool_;
  PrefillLane<kRows, int32_t(kTile)> lane_;
  SharedArena arena_;
  Shared<Bf16> q_;     // [panels][128][panel], swizzled
  Shared<Bf16> ring_;  // [2][K|V][panels][tile][panel], swizzled
  Shared<uint64_t> barriers_;
  OnlineSoftmax softmax_;
  int32_t first_tile_, end_tile_;  // those that some row sees something of
  uint32_t landed_ = 0;            // tiles, at that barrier
};

template <int kHeadDim>
BATON_KERNEL(PagedPrefillGroupShape::kThreads)
void PrefillWarpgroupKernel(BATON_CONSTANT_ARGUMENT GroupPrefillArgs args) {
  GroupPrefillBlock<kHeadDim>(args).Run();
}

}  // namespace

Error LaunchOnWarpgroups(const PagedPrefillArgs& args, const LaunchShape& shape, Stream stream) {
  GroupPrefillArgs group = {.call = KernelArgsOf(args),
                            .kv = LayerOf<const Bf16>(args.kv, args.layer)};
  const KvView& kv = args.kv;
  const MatrixBoxes pool = {
      .base = kv.piece(args.layer, 0),
      .rows = uint64_t(kv.num_blocks) * 2 * uint64_t(kv.num_kv_heads) * uint64_t(kv.block_tokens),
      .columns = uint64_t(kv.head_dim),
      .row_bytes = uint64_t(kv.head_dim) * 2,
      .box_rows = uint32_t(kv.block_tokens),
      .box_columns = uint32_t(PagedPrefillGroupShape{kv.head_dim}.panel())};
  if (Error error = MakeBoxSource(pool, &group.pool)) return error;
  constexpr const char* kName = "paged_prefill_warpgroup";
  switch (kv.head_dim) {
    case 64:
      return LaunchKernel(kName, PrefillWarpgroupKernel<64>, shape, stream, group);
    case 96:
      return LaunchKernel(kName, PrefillWarpgroupKernel<96>, shape, stream, group);
    case 128:
      return LaunchKernel(kName, PrefillWarpgroupKernel<128>, shape, stream, group);
    default:
      return LaunchKernel(kName, PrefillWarpgroupKernel<256>, shape, stream, group);
  }
}

}  // namespace baton::kernels::cuda
