#pragma once

#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/warp.cuh"

namespace baton::kernels::cuda {

// The softmax of rows whose scores come tile by tile: weights are relative to the largest score so
// far, and when a larger one comes, what was summed before is scaled to it. One lane's part of two
// rows, laid out like MultiplyTile's result: element i of a tile of eight columns belongs to row
// i / 2, and four lanes in a row share both rows.
//
// A tile of which a row sees nothing (all scores minus infinity) leaves its sum, and what is
// multiplied by its factor, bit for bit as they were.
class OnlineSoftmax {
 public:
  // Scores become weights 2^(scale * (score - largest)); results of earlier tiles are to be
  // multiplied by their row's factor.
  template <uint32_t kTiles>
  BATON_DEVICE void Weigh(float (&scores)[kTiles][4], float scale, float (&factors)[2]) {
    BATON_UNROLL
    for (uint32_t row = 0; row < 2; ++row) {
      float largest = largest_[row];
      BATON_UNROLL
      for (uint32_t n = 0; n < kTiles; ++n) {
        largest = Larger(largest, Larger(scores[n][2 * row], scores[n][2 * row + 1]));
      }
      largest = Larger(largest, ShuffleXor(largest, 1));
      largest = Larger(largest, ShuffleXor(largest, 2));
      factors[row] = largest == largest_[row] ? 1 : Exp2((largest_[row] - largest) * scale);
      largest_[row] = largest;
      sums_[row] *= factors[row];
      const float base = largest == kMinusInfinity ? 0 : largest * scale;
      BATON_UNROLL
      for (uint32_t n = 0; n < kTiles; ++n) {
        BATON_UNROLL
        for (uint32_t i = 2 * row; i < 2 * row + 2; ++i) {
          scores[n][i] = Exp2(MultiplyAdd(scores[n][i], scale, -base));
          sums_[row] += scores[n][i];
        }
      }
    }
  }

  // The sum of a row's weights. The whole warp comes.
  BATON_DEVICE float Sum(uint32_t row) const {
    float sum = sums_[row];
    sum += ShuffleXor(sum, 1);
    sum += ShuffleXor(sum, 2);
    return sum;
  }

 private:
  float largest_[2] = {kMinusInfinity, kMinusInfinity};  // scores, not yet scaled
  float sums_[2] = {0, 0};                               // of this lane's columns
};

}  // namespace baton::kernels::cuda
