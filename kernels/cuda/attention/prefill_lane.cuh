#pragma once

#include "kernels/cuda/attention/online_softmax.cuh"
#include "kernels/cuda/attention/prefill_rows.cuh"

namespace baton::kernels::cuda {

// What a lane knows of a block's rows, and what it does with its part of their scores and results,
// whichever way these were multiplied. A lane's part belongs to two rows, 0 and 1: lane / 4 and
// lane / 4 + 8 of its warp's 16, columns 2 * (lane % 4) and the next one of every tile of eight, as
// products leave it (primitives/mma.cuh, warpgroup.cuh).
template <uint32_t kRows, int32_t kTile>
class PrefillLane {
 public:
  BATON_DEVICE explicit PrefillLane(const PrefillKernelArgs& args) : args_(args), rows_(args) {}

  BATON_DEVICE const PrefillRows<kRows>& rows() const { return rows_; }

  // Before anything below, of blocks that have rows.
  BATON_DEVICE void Place() {
    const int32_t earliest = rows_.Position(0), latest = rows_.Position(kRows - 1);
    first_ = rows_.FirstSeen(earliest);
    end_ = latest + 1;
    all_see_first_ = rows_.FirstSeen(latest);
    all_see_end_ = earliest + 1;
    BATON_UNROLL
    for (uint32_t i = 0; i < 2; ++i) positions_[i] = rows_.Position(RowOf(i));
  }
  // Positions that some row of the block sees, and the tiles that hold them.
  BATON_DEVICE int32_t first() const { return first_; }
  BATON_DEVICE int32_t end() const { return end_; }
  BATON_DEVICE bool IsSeen(int32_t token) const { return token >= first_ && token < end_; }
  BATON_DEVICE int32_t first_tile() const { return first_ / kTile; }
  BATON_DEVICE int32_t end_tile() const { return (end_ + kTile - 1) / kTile; }

  // Scores become minus infinity where their row does not see their token. Nothing is to be done in
  // tiles of which every row sees every token: most of a long context.
  template <uint32_t kScoreTiles>
  BATON_DEVICE void Mask(int32_t tile, float (&scores)[kScoreTiles][4]) const {
    const int32_t begin = tile * kTile, column = begin + int32_t(LaneIndex() % 4 * 2);
    if (begin >= all_see_first_ && begin + kTile <= all_see_end_) return;
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

  template <uint32_t kOutTiles>
  BATON_DEVICE static void Rescale(const float (&factors)[2], float (&results)[kOutTiles][4]) {
    BATON_UNROLL
    for (uint32_t n = 0; n < kOutTiles; ++n) {
      BATON_UNROLL
      for (int i = 0; i < 4; ++i) results[n][i] *= factors[i / 2];
    }
  }

  // Results, divided by their rows' sums of weights. The whole warp comes.
  template <uint32_t kOutTiles>
  BATON_DEVICE void Write(const OnlineSoftmax& softmax,
                          const float (&results)[kOutTiles][4]) const {
    BATON_UNROLL
    for (uint32_t i = 0; i < 2; ++i) {
      const float sum = softmax.Sum(i);
      if (!rows_.IsRow(RowOf(i))) continue;
      const size_t at = rows_.At(RowOf(i)) + LaneIndex() % 4 * 2;
      BATON_UNROLL
      for (uint32_t n = 0; n < kOutTiles; ++n) {
        StorePair(args_, at + 8 * n, Divide(results[n][2 * i], sum),
                  Divide(results[n][2 * i + 1], sum));
      }
    }
  }

 private:
  BATON_DEVICE static uint32_t RowOf(uint32_t i) {
    return WarpIndex() * 16 + LaneIndex() / 4 + 8 * i;
  }

  const PrefillKernelArgs& args_;
  const PrefillRows<kRows> rows_;
  int32_t first_, end_;                  // positions that some row of the block sees
  int32_t all_see_first_, all_see_end_;  // positions that every row sees; may be none
  int32_t positions_[2];                 // of the lane's rows
};

}  // namespace baton::kernels::cuda
