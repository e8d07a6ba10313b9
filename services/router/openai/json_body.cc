#include "services/router/openai/json_body.h"

#include <algorithm>

#include "common/base/status.h"
#include "common/text/utf8.h"

namespace baton::router::openai {
namespace {

// The nesting is measured before anything is allocated for it.
size_t DepthOf(std::string_view body) {
  size_t depth = 0;
  size_t deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

constexpr size_t kReasonBytesMax = 300;

// "[json.exception.parse_error.101] parse error at line 1, column 2: …" without the library's name;
// nor with all of a long string that it was reading.
std::string ReasonOf(std::string_view what) {
  const size_t end = what.find("] ");
  if (end != std::string_view::npos) what.remove_prefix(end + 2);
  if (what.size() <= kReasonBytesMax) return std::string(what);
  size_t cut = kReasonBytesMax;
  while (cut > 0 && (what[cut] & 0xc0) == 0x80) --cut;  // between two characters
  return std::string(what.substr(0, cut)) + " …";
}

}  // namespace

absl::StatusOr<Json> ParseBody(std::string_view body, size_t depth_max) {
  if (body.empty()) return InvalidArgument("the body is empty; a JSON object is expected");
  if (const auto bad = text::FirstInvalidUtf8(body)) {
    return InvalidArgument("the body is not valid UTF-8 at byte {}", *bad);
  }
  if (const size_t depth = DepthOf(body); depth > depth_max) {
    return InvalidArgument("the body nests {} levels deep, at most {} are allowed", depth,
                           depth_max);
  }
  try {
    Json json = Json::parse(body);
    if (!json.is_object()) {
      return InvalidArgument("the body is a JSON {}; an object is expected", json.type_name());
    }
    return json;
  } catch (const Json::exception& e) {
    return InvalidArgument("the body is not valid JSON: {}", ReasonOf(e.what()));
  }
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace baton::router::openai
