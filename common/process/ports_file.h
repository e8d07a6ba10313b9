#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"

namespace baton {

// Where a program listens, by the door's name: {"grpc":"127.0.0.1:2345","http":"127.0.0.1:1234"}.
// In place at once or not at all: whoever waits for the file never reads half of it. An empty path
// is no file.
absl::Status WritePortsFile(const std::string& path,
                            const std::vector<std::pair<std::string_view, std::string>>& doors);

}  // namespace baton
