#pragma once

#include <string>
#include <vector>

#include "services/cli/doctor/cluster_picture.h"
#include "services/cli/doctor/findings.h"

namespace baton::cli {

// For a person: workers, a row per path, findings. `paths_total`: those not probed included.
std::string DoctorText(const ClusterPicture& picture, size_t paths_total,
                       const std::vector<Finding>& findings);
// The same for programs, one JSON object.
std::string DoctorJson(const ClusterPicture& picture, size_t paths_total,
                       const std::vector<Finding>& findings);

}  // namespace baton::cli
