#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/option_set.h"

namespace baton::config {

// Reads a cluster file: a map of sections, each a map of options.
//
//   model:
//     path: models/baton-demo
//   decode:
//     batch_sequences_max: 32
//     kv_memory: 512MiB
//
// Strict: an unknown section or key, a key given twice, a wrong type, a bad unit and a value out of
// range are errors with their line, "cluster.yaml:12: decode.batch_sequences_max must be between 1
// and 4096, got 0"; all of them are listed, one per line, 20 at most. `name` is how messages call
// the file.
absl::Status ReadClusterText(std::string_view text, const std::string& name,
                             const std::vector<OptionSet*>& schema);

// The same from a file of at most 1 MiB.
absl::Status ReadClusterFile(const std::string& path, const std::vector<OptionSet*>& schema);

}  // namespace baton::config
