#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace baton::router::openai {

using Json = nlohmann::ordered_json;

// Bytes of a stranger as a JSON object: valid UTF-8, bounded nesting, one value. INVALID_ARGUMENT
// says what is wrong and at which byte.
absl::StatusOr<Json> ParseBody(std::string_view body, size_t depth_max);

// One line; never throws, whatever the strings hold.
std::string Dump(const Json& json);

}  // namespace baton::router::openai
