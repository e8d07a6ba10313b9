#include "common/config/device.h"

#include <charconv>

namespace baton::config {
namespace {

constexpr int32_t kIndexMax = 63;

}  // namespace

std::string Device::text() const {
  switch (kind) {
    case Kind::kCpu:
      return "cpu";
    case Kind::kCuda:
      return fmt::format("cuda:{}", index);
    case Kind::kAuto:
      break;
  }
  return "auto";
}

absl::StatusOr<Device> ParseDevice(std::string_view text) {
  if (text == "auto") return Device{};
  if (text == "cpu") return Device{Device::Kind::kCpu};
  if (text == "cuda") return Device{Device::Kind::kCuda};
  constexpr std::string_view kPrefix = "cuda:";
  if (text.starts_with(kPrefix)) {
    Device device{Device::Kind::kCuda};
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + kPrefix.size(), end, device.index);
    if (error == std::errc() && rest == end && device.index >= 0 && device.index <= kIndexMax) {
      return device;
    }
  }
  return InvalidArgument("must be auto, cpu, cuda or cuda:N (N from 0 to {}), got '{}'", kIndexMax,
                         text);
}

}  // namespace baton::config
