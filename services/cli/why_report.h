#pragma once

#include <string>

#include "common/base/status.h"

namespace baton::cli {

// The text for a person of what /debug/requests/ID answered. INVALID_ARGUMENT when it is no such
// answer.
absl::StatusOr<std::string> WhyText(const std::string& json);

}  // namespace baton::cli
