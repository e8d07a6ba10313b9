#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace baton::config {

// Where a worker computes.
struct Device {
  enum class Kind : uint8_t { kAuto, kCpu, kCuda };
  Kind kind = Kind::kAuto;
  int32_t index = 0;  // kCuda: as the driver counts

  // "auto", "cpu", "cuda:0".
  std::string text() const;
  friend bool operator==(const Device&, const Device&) = default;
};

// "cuda" is cuda:0. Errors read as the end of a sentence.
absl::StatusOr<Device> ParseDevice(std::string_view text);

}  // namespace baton::config
