#include "common/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace baton::model {
namespace {

// theta^(2i/D) for pair i, in float32.
std::vector<float> PositionPeriods(double theta, int32_t head_dim) {
  std::vector<float> periods(head_dim / 2);
  for (int32_t i = 0; i < head_dim / 2; ++i) {
    periods[i] = std::pow(float(theta), float(2 * i) / float(head_dim));
  }
  return periods;
}

// Llama 3.1: long wavelengths are slowed by `factor`, short ones left alone, those between blended.
void StretchLlama3(const RopeConfig& rope, std::vector<float>& inv_freq) {
  const double context = rope.original_max_positions;
  const float wavelength_long = float(context / rope.low_freq_factor);
  const float wavelength_short = float(context / rope.high_freq_factor);
  const float factor = float(rope.factor);
  for (float& f : inv_freq) {
    const float wavelength = float(2 * std::numbers::pi) / f;
    if (wavelength > wavelength_long) {
      f = f / factor;
    } else if (!(wavelength < wavelength_short)) {
      const float smooth = (float(context) / wavelength - float(rope.low_freq_factor)) /
                           float(rope.high_freq_factor - rope.low_freq_factor);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
}

// The (fractional) pair index that turns `rotations` times over the original context.
double PairOfRotations(const RopeConfig& rope, int32_t head_dim, double rotations) {
  return head_dim * std::log(rope.original_max_positions / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

// First and last pair of yarn's ramp from "left alone" to "divided by factor".
std::pair<double, double> YarnRamp(const RopeConfig& rope, int32_t head_dim) {
  double low = PairOfRotations(rope, head_dim, rope.beta_fast);
  double high = PairOfRotations(rope, head_dim, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(head_dim - 1));
  if (low == high) high += 0.001;  // a ramp of no width would divide by zero
  return {low, high};
}

std::vector<float> YarnFrequencies(const RopeConfig& rope, int32_t head_dim) {
  std::vector<float> periods = PositionPeriods(rope.theta, head_dim);
  const auto [low, high] = YarnRamp(rope, head_dim);
  for (int32_t i = 0; i < head_dim / 2; ++i) {
    const float ramp = std::clamp((float(i) - float(low)) / float(high - low), 0.0f, 1.0f);
    const float keep = 1 - ramp;
    const float slowed = 1.0f / (float(rope.factor) * periods[i]);
    const float original = 1.0f / periods[i];
    periods[i] = slowed * (1 - keep) + original * keep;
  }
  return periods;
}

double Mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

}  // namespace

std::vector<float> InverseFrequencies(const RopeConfig& rope, int32_t head_dim) {
  if (rope.kind == RopeKind::kYarn) return YarnFrequencies(rope, head_dim);
  std::vector<float> inv_freq = PositionPeriods(rope.theta, head_dim);
  for (float& f : inv_freq) f = 1.0f / f;
  if (rope.kind == RopeKind::kLinear) {
    for (float& f : inv_freq) f /= float(rope.factor);
  }
  if (rope.kind == RopeKind::kLlama3) StretchLlama3(rope, inv_freq);
  return inv_freq;
}

float RopeAttentionFactor(const RopeConfig& rope) {
  if (rope.kind != RopeKind::kYarn) return 1;
  if (rope.attention_factor) return float(*rope.attention_factor);
  if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    return float(Mscale(rope.factor, rope.mscale) / Mscale(rope.factor, rope.mscale_all_dim));
  }
  return float(Mscale(rope.factor, 1));
}

RopeTables MakeRopeTables(const RopeConfig& rope, int32_t head_dim, int32_t num_positions) {
  const std::vector<float> inv_freq = InverseFrequencies(rope, head_dim);
  const float scale = RopeAttentionFactor(rope);
  RopeTables tables;
  tables.cos.reserve(size_t(num_positions) * inv_freq.size());
  tables.sin.reserve(size_t(num_positions) * inv_freq.size());
  for (int32_t position = 0; position < num_positions; ++position) {
    for (const float f : inv_freq) {
      const float angle = float(position) * f;
      tables.cos.push_back(std::cos(angle) * scale);
      tables.sin.push_back(std::sin(angle) * scale);
    }
  }
  return tables;
}

}  // namespace baton::model
