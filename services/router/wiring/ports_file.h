#pragma once

#include <string>

#include "common/base/status.h"

namespace baton::router {

// {"http":"127.0.0.1:1234","grpc":"127.0.0.1:2345"}, in place at once or not at all: whoever waits
// for the file never reads half of it.
absl::Status WritePortsFile(const std::string& path, const std::string& http,
                            const std::string& grpc);

}  // namespace baton::router
