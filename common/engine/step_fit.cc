#include "common/engine/step_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

// Non-negative least squares over four features, solved exactly: the best non-negative solution is
// the ordinary solution over some subset of the features, and there are only 16 subsets. A ridge of
// one part in 10^6 of each feature's own square keeps collinear features (all batches alike)
// solvable.

namespace baton::engine {
namespace {

constexpr double kForgetting = 0.998;  // per step: half of the weight lies in the last 350 steps
constexpr double kRidge = 1e-6;

constexpr int kN = 4;
using Vec = std::array<double, kN>;
using Mat = std::array<Vec, kN>;

// Solves a w = b over the features in `subset` by Cholesky; the others are 0. Empty if not
// positive.
std::optional<Vec> SolveSubset(const Mat& a, const Vec& b, unsigned subset) {
  Mat factor{};
  Vec y{};
  for (int i = 0; i < kN; ++i) {
    if (!(subset >> i & 1)) continue;
    double rest = b[i];
    for (int j = 0; j <= i; ++j) {
      if (!(subset >> j & 1)) continue;
      double sum = a[i][j];
      for (int k = 0; k < j; ++k) sum -= factor[i][k] * factor[j][k];
      if (j < i) {
        factor[i][j] = sum / factor[j][j];
        rest -= factor[i][j] * y[j];
      } else {
        if (!(sum > 0)) return std::nullopt;
        factor[i][i] = std::sqrt(sum);
        y[i] = rest / factor[i][i];
      }
    }
  }
  Vec w{};
  for (int i = kN - 1; i >= 0; --i) {
    if (!(subset >> i & 1)) continue;
    double rest = y[i];
    for (int k = i + 1; k < kN; ++k) rest -= factor[k][i] * w[k];
    w[i] = rest / factor[i][i];
  }
  return w;
}

// What a choice of w leaves, up to a constant: w^T a w - 2 b^T w.
double Cost(const Mat& a, const Vec& b, const Vec& w) {
  double cost = 0;
  for (int i = 0; i < kN; ++i) {
    cost -= 2 * b[i] * w[i];
    for (int j = 0; j < kN; ++j) cost += w[i] * a[i][j] * w[j];
  }
  return cost;
}

Vec SolveNonNegative(const Mat& a, const Vec& b) {
  Vec best{};
  double best_cost = 0;  // of all zeros
  for (unsigned subset = 1; subset < 1u << kN; ++subset) {
    const auto w = SolveSubset(a, b, subset);
    if (!w || *std::min_element(w->begin(), w->end()) < 0) continue;
    const double cost = Cost(a, b, *w);
    if (cost < best_cost) {
      best = *w;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace

void StepFitter::Add(int32_t prefill_tokens, int32_t decodes, int64_t context_tokens,
                     absl::Duration time) {
  const Row x = {1.0, double(prefill_tokens), double(decodes), double(context_tokens)};
  const double y = absl::ToDoubleMilliseconds(time);
  for (int i = 0; i < kFeatures; ++i) {
    for (int j = 0; j < kFeatures; ++j) {
      products_[i][j] = products_[i][j] * kForgetting + x[i] * x[j];
    }
    targets_[i] = targets_[i] * kForgetting + x[i] * y;
  }
  squares_ = squares_ * kForgetting + y * y;
  weight_ = weight_ * kForgetting + 1;
  ++samples_;
}

StepFit StepFitter::Fit() const {
  StepFit fit;
  fit.samples = samples_;
  if (samples_ == 0) return fit;
  // Each feature is scaled to unit size: context tokens are thousands where decodes are ones.
  Vec scale{};
  for (int i = 0; i < kN; ++i) scale[i] = products_[i][i] > 0 ? 1 / std::sqrt(products_[i][i]) : 0;
  Mat a{};
  Vec b{};
  for (int i = 0; i < kN; ++i) {
    b[i] = targets_[i] * scale[i];
    for (int j = 0; j < kN; ++j) a[i][j] = products_[i][j] * scale[i] * scale[j];
    a[i][i] += kRidge;
  }
  const Vec w = SolveNonNegative(a, b);
  fit.base_ms = w[0] * scale[0];
  fit.per_prefill_token_ms = w[1] * scale[1];
  fit.per_decode_ms = w[2] * scale[2];
  fit.per_context_token_ms = w[3] * scale[3];
  fit.residual_ms = std::sqrt(std::max(0.0, squares_ + Cost(a, b, w)) / weight_);
  return fit;
}

}  // namespace baton::engine
