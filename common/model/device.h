#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/status.h"
#include "kernels/backend.h"

namespace baton::model {

struct DeviceOptions {
  std::string device = "auto";  // auto | cpu
  int32_t threads = 0;          // of the CPU backend; 0: one per core that the process may use
  std::string isa = "auto";     // auto | scalar | avx2 | avx512 | avx512_bf16; scalar: plain loops,
                                // slow, for comparison
};

// The backend that a worker computes on. An error names the option, and what this machine lacks.
// The worker owns the backend; it outlives the models loaded on it.
absl::StatusOr<std::unique_ptr<kernels::Backend>> OpenDevice(const DeviceOptions& options);

}  // namespace baton::model
