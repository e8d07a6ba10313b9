#pragma once

#include <span>

#include "kernels/sampling.h"

namespace baton::kernels {

// Steps 1 to 3 of sampling.h, in place.
void ApplyPenalties(std::span<float> logits, const SampleArgs& args);

// True when ApplyPenalties would change nothing.
bool HasNoPenalties(const SampleArgs& args);

// The largest logit's id, the lowest on ties; NaN loses to everything.
int32_t LargestLogit(std::span<const float> logits);

}  // namespace baton::kernels
