#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "services/router/intake/field_error.h"
#include "services/router/openai/json_body.h"

namespace baton::router::openai {

// Reads a JSON object's fields with their types checked. Remembers the first mistake, with the path
// of the field ("messages[2].role"), and lets the reads after it do nothing. Absent and null are
// the same: the destination keeps its value.
class FieldReader {
 public:
  // `object` outlives the reader. `path`: of the object itself; empty at the top.
  explicit FieldReader(const Json& object, std::string path = "");

  void Read(std::string_view name, bool* out);
  void Read(std::string_view name, float* out);
  void Read(std::string_view name, int32_t* out);
  void Read(std::string_view name, uint64_t* out);
  void Read(std::string_view name, std::string* out);
  void Read(std::string_view name, std::vector<int32_t>* out);
  template <typename T>
  void Read(std::string_view name, std::optional<T>* out) {
    if (Find(name) == nullptr) return;
    T value{};
    Read(name, &value);
    *out = std::move(value);
  }
  // A string or a list of strings.
  void ReadStrings(std::string_view name, std::vector<std::string>* out);
  // {"<token id>": <bias>, …}
  void ReadBiases(std::string_view name, std::vector<std::pair<int32_t, float>>* out);

  // Null when absent or null.
  const Json* Find(std::string_view name) const;
  std::string PathOf(std::string_view name) const;
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  void Fail(absl::Status status);
  // "<path> must be <wanted>, got <type>".
  void FailType(std::string_view path, std::string_view wanted, const Json& got);

 private:
  std::optional<int64_t> Integer(const Json& value, const std::string& path);
  std::optional<int32_t> Int32(const Json& value, const std::string& path);

  const Json& object_;
  const std::string path_;
  absl::Status status_;
};

}  // namespace baton::router::openai
