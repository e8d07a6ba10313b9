#include "common/model/json_fields.h"

#include <utility>

namespace baton::model {
namespace {

// A value as it stands in the file, cut short: errors go to logs.
std::string Shown(const nlohmann::json& value) {
  constexpr size_t kShownBytesMax = 80;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kShownBytesMax) {
    text.resize(kShownBytesMax);
    text += "…";
  }
  return text;
}

}  // namespace

const nlohmann::json* JsonFields::Find(std::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

std::string JsonFields::Describe(std::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fmt::format("{}: field `{}{}` is missing", file_, parent_, key);
  return fmt::format("{}: field `{}{}` is {}", file_, parent_, key, Shown(*value));
}

absl::Status JsonFields::Unsupported(std::string_view key, std::string_view supported) const {
  return Unimplemented("{}; supported: {}", Describe(key), supported);
}

absl::Status JsonFields::Wrong(std::string_view key, std::string_view expected) const {
  return InvalidArgument("{}; expected {}", Describe(key), expected);
}

absl::StatusOr<int64_t> JsonFields::Integer(std::string_view key, int64_t min, int64_t max) const {
  const nlohmann::json* value = Find(key);
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  if (value == nullptr || !value->is_number_integer()) return Wrong(key, expected);
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(INT64_MAX)) {
    return Wrong(key, expected);
  }
  const int64_t number = value->get<int64_t>();
  if (number < min || number > max) return Wrong(key, expected);
  return number;
}

absl::StatusOr<int64_t> JsonFields::IntegerOr(std::string_view key, int64_t absent, int64_t min,
                                              int64_t max) const {
  if (!Has(key)) return absent;
  return Integer(key, min, max);
}

absl::StatusOr<double> JsonFields::Number(std::string_view key, double min, double max) const {
  const nlohmann::json* value = Find(key);
  const std::string expected = fmt::format("a number from {} to {}", min, max);
  if (value == nullptr || !value->is_number()) return Wrong(key, expected);
  const double number = value->get<double>();
  if (!(number >= min && number <= max)) return Wrong(key, expected);
  return number;
}

absl::StatusOr<double> JsonFields::NumberOr(std::string_view key, double absent, double min,
                                            double max) const {
  if (!Has(key)) return absent;
  return Number(key, min, max);
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view key, bool absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Wrong(key, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::StringOr(std::string_view key,
                                                 std::string_view absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) return Wrong(key, "a string");
  return value->get<std::string>();
}

absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view file,
                                               size_t bytes_max) {
  if (text.size() > bytes_max) {
    return InvalidArgument("{}: {} bytes, the limit is {}", file, text.size(), bytes_max);
  }
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("{}: not valid JSON", file);
  if (!json.is_object()) return InvalidArgument("{}: the top level is not a JSON object", file);
  return json;
}

}  // namespace baton::model
