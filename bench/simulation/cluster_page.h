#pragma once

#include <string>
#include <vector>

#include "bench/simulation/model_worker.h"
#include "common/base/status.h"

namespace baton::simulation {

// The workers of a real cluster, as its router's /debug/cluster tells of them: shapes, step times
// and link speeds as they have measured them. INVALID_ARGUMENT names what the page lacks.
absl::StatusOr<std::vector<WorkerSpec>> WorkersOfPage(const std::string& json);

}  // namespace baton::simulation
