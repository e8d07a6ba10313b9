#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "common/engine/observer.h"

namespace baton::engine {

// Fits the time of a step to what the step did (StepFit), online: least squares in which older
// steps count less and less. Coefficients are never negative, and stay sensible while features have
// only varied together (then they share the time). Single-threaded.
class StepFitter {
 public:
  void Add(int32_t prefill_tokens, int32_t decodes, int64_t context_tokens, absl::Duration time);
  StepFit Fit() const;

 private:
  static constexpr int kFeatures = 4;  // 1, prefill tokens, decodes, context tokens
  using Row = std::array<double, kFeatures>;

  std::array<Row, kFeatures> products_{};  // decayed sum of x x^T
  Row targets_{};                          // decayed sum of x y
  double squares_ = 0;                     // decayed sum of y y
  double weight_ = 0;                      // decayed count
  int64_t samples_ = 0;
};

}  // namespace baton::engine
