#include "services/router/openai/json_body.h"

#include <simdjson.h>

#include <algorithm>
#include <optional>

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

// What the slow library makes of the same text.
Json Copy(simdjson::dom::element from) {
  using Type = simdjson::dom::element_type;
  switch (from.type()) {
    case Type::OBJECT: {
      Json object = Json::object();
      for (const auto& [key, value] : simdjson::dom::object(from)) {
        object[std::string(key)] = Copy(value);
      }
      return object;
    }
    case Type::ARRAY: {
      Json array = Json::array();
      for (const simdjson::dom::element value : simdjson::dom::array(from))
        array.push_back(Copy(value));
      return array;
    }
    case Type::STRING:
      return std::string(std::string_view(from));
    case Type::INT64: {
      const int64_t number = from;
      return number < 0 ? Json(number) : Json(static_cast<uint64_t>(number));
    }
    case Type::UINT64:
      return uint64_t(from);
    case Type::DOUBLE:
      return double(from);
    case Type::BOOL:
      return bool(from);
    case Type::NULL_VALUE:
      break;
  }
  return nullptr;
}

// Most bodies are mostly one long string, which simdjson reads twenty times as fast as it is read
// character by character. None: it has an objection, and the slow library is to say what of.
std::optional<Json> ParseFast(std::string_view body) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(simdjson::padded_string(body)).get(root) != simdjson::SUCCESS)
    return std::nullopt;
  return Copy(root);
}

absl::StatusOr<Json> ParseSlowly(std::string_view body) {
  if (const auto bad = text::FirstInvalidUtf8(body)) {
    return InvalidArgument("the body is not valid UTF-8 at byte {}", *bad);
  }
  try {
    return Json::parse(body);
  } catch (const Json::exception& e) {
    return InvalidArgument("the body is not valid JSON: {}", ReasonOf(e.what()));
  }
}

}  // namespace

absl::StatusOr<Json> ParseBody(std::string_view body, size_t depth_max) {
  if (body.empty()) return InvalidArgument("the body is empty; a JSON object is expected");
  if (const size_t depth = DepthOf(body); depth > depth_max) {
    return InvalidArgument("the body nests {} levels deep, at most {} are allowed", depth,
                           depth_max);
  }
  std::optional<Json> json = ParseFast(body);
  if (!json) {
    ASSIGN_OR_RETURN(json, ParseSlowly(body));
  }
  if (!json->is_object()) {
    return InvalidArgument("the body is a JSON {}; an object is expected", json->type_name());
  }
  return *std::move(json);
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace baton::router::openai
