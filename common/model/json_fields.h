#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace baton::model {

// One JSON object of a model folder, read field by field with a range for every number. Errors name
// the file, the field with its parents ("rope_scaling.factor"), its value and what would have been
// accepted. Borrows the object. A field that is null reads like one that is absent, as these
// folders mean it.
class JsonFields {
 public:
  // `object` must be a JSON object. `parent` is "" at the top, else "rope_scaling." and the like.
  JsonFields(const nlohmann::json& object, std::string file, std::string parent = "")
      : object_(object), file_(std::move(file)), parent_(std::move(parent)) {}

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  // Null when absent or null.
  const nlohmann::json* Find(std::string_view key) const;

  absl::StatusOr<int64_t> Integer(std::string_view key, int64_t min, int64_t max) const;
  absl::StatusOr<int64_t> IntegerOr(std::string_view key, int64_t absent, int64_t min,
                                    int64_t max) const;
  absl::StatusOr<double> Number(std::string_view key, double min, double max) const;
  absl::StatusOr<double> NumberOr(std::string_view key, double absent, double min,
                                  double max) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool absent) const;
  absl::StatusOr<std::string> StringOr(std::string_view key, std::string_view absent) const;

  // The field is well-formed and means something this build cannot do: UNIMPLEMENTED.
  absl::Status Unsupported(std::string_view key, std::string_view supported) const;
  // The field is wrong whatever the build: INVALID_ARGUMENT.
  absl::Status Wrong(std::string_view key, std::string_view expected) const;

  const std::string& file() const { return file_; }

 private:
  std::string Describe(std::string_view key) const;

  const nlohmann::json& object_;
  std::string file_;
  std::string parent_;
};

// Parses one JSON object from text of at most `bytes_max`; `file` is for errors.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view file,
                                               size_t bytes_max);

}  // namespace baton::model
