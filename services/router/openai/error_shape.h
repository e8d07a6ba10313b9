#pragma once

#include <string>

#include "common/base/status.h"
#include "services/router/openai/json_body.h"

namespace baton::router::openai {

// The HTTP status for an error: 400, 404, 408, 429, 499, 500, 501, 503, 504.
int HttpStatusOf(const absl::Status& status);

// {"error": {"message", "type", "param", "code"}} with FieldOf() as param and ErrorCodeOf() as
// code.
Json ErrorJson(const absl::Status& status);
// The same for mistakes below the API: a bad path, method or size.
Json ErrorJson(std::string_view message, std::string_view type, std::string_view code);

}  // namespace baton::router::openai
