#pragma once

#include <vector>

#include "kernels/sampling.h"

namespace baton::kernels {

// sampling.h word by word: sorts the whole vocabulary.
SampledToken NaiveSampleRow(std::vector<float> logits, const SampleArgs& args);

}  // namespace baton::kernels
