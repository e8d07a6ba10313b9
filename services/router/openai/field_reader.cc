#include "services/router/openai/field_reader.h"

#include <charconv>
#include <limits>

#include "common/base/check.h"

namespace baton::router::openai {
namespace {

// What the client sent, short enough for a message.
std::string Describe(const Json& value) {
  if (value.is_number() || value.is_boolean()) return Dump(value);
  return fmt::format("{} {}", value.is_array() || value.is_object() ? "an" : "a",
                     value.type_name());
}

}  // namespace

FieldReader::FieldReader(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {
  CHECK(object.is_object(), "{} is no object", path_);
}

void FieldReader::Read(std::string_view name, bool* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return FailType(PathOf(name), "true or false", *value);
  *out = value->get<bool>();
}

void FieldReader::Read(std::string_view name, float* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return FailType(PathOf(name), "a number", *value);
  *out = value->get<float>();
}

void FieldReader::Read(std::string_view name, int32_t* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (const auto integer = Int32(*value, PathOf(name))) *out = *integer;
}

void FieldReader::Read(std::string_view name, uint64_t* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (value->is_number_unsigned()) {
    *out = value->get<uint64_t>();
  } else if (const auto integer = Integer(*value, PathOf(name))) {
    *out =
        static_cast<uint64_t>(*integer);  // negative seeds wrap, as clients of other servers expect
  }
}

void FieldReader::Read(std::string_view name, std::string* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return FailType(PathOf(name), "a string", *value);
  *out = value->get_ref<const std::string&>();
}

void FieldReader::Read(std::string_view name, std::vector<int32_t>* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_array()) return FailType(PathOf(name), "a list of integers", *value);
  out->clear();
  out->reserve(value->size());
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& item = (*value)[i];
    // The path is built for a mistake only: lists of tokens are long.
    if (item.is_number_integer() && item.get<int64_t>() >= 0 &&
        item.get<int64_t>() <= std::numeric_limits<int32_t>::max()) {
      out->push_back(static_cast<int32_t>(item.get<int64_t>()));
    } else if (const auto integer = Int32(item, fmt::format("{}[{}]", PathOf(name), i))) {
      out->push_back(*integer);
    } else {
      return;
    }
  }
}

void FieldReader::ReadStrings(std::string_view name, std::vector<std::string>* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (value->is_string()) {
    *out = {value->get<std::string>()};
    return;
  }
  if (!value->is_array()) return FailType(PathOf(name), "a string or a list of strings", *value);
  out->clear();
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& item = (*value)[i];
    if (!item.is_string())
      return FailType(fmt::format("{}[{}]", PathOf(name), i), "a string", item);
    out->push_back(item.get<std::string>());
  }
}

void FieldReader::ReadBiases(std::string_view name, std::vector<std::pair<int32_t, float>>* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_object()) return FailType(PathOf(name), "an object of token ids", *value);
  for (const auto& [key, bias] : value->items()) {
    int32_t token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size()) {
      return Fail(FieldError(PathOf(name), "{} has the key \"{}\"; keys are token ids",
                             PathOf(name), key.substr(0, 32)));
    }
    if (!bias.is_number())
      return FailType(fmt::format("{}.{}", PathOf(name), token), "a number", bias);
    out->emplace_back(token, bias.get<float>());
  }
}

const Json* FieldReader::Find(std::string_view name) const {
  if (!status_.ok()) return nullptr;
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::string FieldReader::PathOf(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void FieldReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void FieldReader::FailType(std::string_view path, std::string_view wanted, const Json& got) {
  Fail(FieldError(path, "{} must be {}, got {}", path, wanted, Describe(got)));
}

std::optional<int64_t> FieldReader::Integer(const Json& value, const std::string& path) {
  if (!value.is_number_integer()) {
    FailType(path, "an integer", value);
    return std::nullopt;
  }
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    Fail(FieldError(path, "{} is out of range, got {}", path, value.get<uint64_t>()));
    return std::nullopt;
  }
  return value.get<int64_t>();
}

std::optional<int32_t> FieldReader::Int32(const Json& value, const std::string& path) {
  const auto integer = Integer(value, path);
  if (!integer) return std::nullopt;
  if (*integer < std::numeric_limits<int32_t>::min() ||
      *integer > std::numeric_limits<int32_t>::max()) {
    Fail(FieldError(path, "{} must be between {} and {}, got {}", path,
                    std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max(),
                    *integer));
    return std::nullopt;
  }
  return static_cast<int32_t>(*integer);
}

}  // namespace baton::router::openai
