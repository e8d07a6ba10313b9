#pragma once

#include <algorithm>
#include <vector>

#include "kernels/cuda/emulation/violations.h"

namespace baton::kernels::cuda::testing {

// What came of running a kernel with a mistake in it.
struct Outcome {
  std::vector<emulation::Violation> violations;
  double error = 0;  // of its result; what that is, the test says

  bool Has(emulation::ViolationKind kind) const {
    return std::any_of(violations.begin(), violations.end(),
                       [&](const emulation::Violation& v) { return v.kind == kind; });
  }
};

}  // namespace baton::kernels::cuda::testing
