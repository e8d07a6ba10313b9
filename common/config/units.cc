#include "common/config/units.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

namespace baton::config {
namespace {

struct Unit {
  std::string_view name;  // lower case
  double scale;
};

constexpr std::array<Unit, 10> kByteUnits = {{{"b", 1},
                                              {"kib", 1024.0},
                                              {"mib", 1048576.0},
                                              {"gib", 1073741824.0},
                                              {"tib", 1099511627776.0},
                                              {"kb", 1e3},
                                              {"mb", 1e6},
                                              {"gb", 1e9},
                                              {"tb", 1e12},
                                              {"bytes", 1}}};
constexpr std::array<Unit, 5> kTimeUnits = {
    {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}}};

// Number times unit; nothing when it is not that. Never negative, never beyond `limit`.
template <size_t N>
std::optional<double> Scaled(std::string_view text, const std::array<Unit, N>& units,
                             double limit) {
  double number = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || number < 0 || !std::isfinite(number)) return std::nullopt;
  std::string unit;
  for (; rest != end; ++rest) {
    if (*rest != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*rest)));
  }
  if (unit.empty()) return number == 0 ? std::optional<double>(0) : std::nullopt;
  for (const Unit& u : units) {
    if (u.name == unit && number * u.scale <= limit) return number * u.scale;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Bytes> ParseBytes(std::string_view text) {
  std::optional<double> count = Scaled(text, kByteUnits, 0x1p60);
  if (!count)
    return InvalidArgument("must be an amount with a unit such as 512MiB, got '{}'", text);
  return Bytes{static_cast<int64_t>(std::llround(*count))};
}

std::string BytesText(Bytes bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  int64_t count = bytes.count;
  while (count != 0 && count % 1024 == 0 && unit + 1 < kNames.size()) {
    count /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", count, kNames[unit]);
}

std::string RoundedBytesText(int64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  double amount = static_cast<double>(bytes);
  while (std::abs(amount) >= 1023.95 && unit + 1 < kNames.size()) {
    amount /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", amount, kNames[unit]);
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  std::optional<double> seconds = Scaled(text, kTimeUnits, 1e9);
  if (!seconds) {
    return InvalidArgument("must be a time with a unit such as 250ms, 5s, 2m or 1h, got '{}'",
                           text);
  }
  // Whole microseconds: 0.1 s is 100 ms, not 100.000000000000005 ms.
  return absl::Microseconds(std::llround(*seconds * 1e6));
}

std::string DurationText(absl::Duration duration) {
  const int64_t us = absl::ToInt64Microseconds(duration);
  if (us == 0) return "0s";
  if (us % 3600000000 == 0) return fmt::format("{}h", us / 3600000000);
  if (us % 60000000 == 0) return fmt::format("{}m", us / 60000000);
  if (us % 1000000 == 0) return fmt::format("{}s", us / 1000000);
  if (us % 1000 == 0) return fmt::format("{}ms", us / 1000);
  return fmt::format("{}us", us);
}

}  // namespace baton::config
