#pragma once

#include <vector>

#include "absl/time/time.h"
#include "common/rpc/credentials.h"
#include "services/cli/doctor/cluster_picture.h"

namespace baton::cli {

struct ExamineOptions {
  int32_t paths_max = 64;
  absl::Duration answer_within = absl::Seconds(3);  // a worker; silent ones are asked at once
  absl::Duration probe_within = absl::Seconds(12);  // a path
  rpc::Credentials credentials;                     // towards workers
};

// Asks every worker of the picture what it is and what time it has. Their silence is in the
// picture.
void ExamineWorkers(const ExamineOptions& options, ClusterPicture& picture);

// Has the paths between workers that are paired probed, one after another, and adds them. At most
// `paths_max`: as many workers of either side as possible are among them. How many there are in
// all.
size_t ProbePaths(const ExamineOptions& options, ClusterPicture& picture);

// (prefill, decode) worker indices of all paths that KV may take, every worker as early as
// possible.
std::vector<std::pair<size_t, size_t>> PathsOf(const ClusterPicture& picture);

}  // namespace baton::cli
