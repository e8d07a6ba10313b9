#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/base/status.h"

// Values that carry their unit, as people write them.
namespace baton::config {

// An amount of memory. A type of its own, so that it is never mistaken for a count.
struct Bytes {
  int64_t count = 0;
  friend auto operator<=>(const Bytes&, const Bytes&) = default;
};
inline constexpr Bytes KiB(int64_t n) { return {n << 10}; }
inline constexpr Bytes MiB(int64_t n) { return {n << 20}; }
inline constexpr Bytes GiB(int64_t n) { return {n << 30}; }

// "512MiB", "1.5 GiB", "64KB", "4096B". The unit is required (KiB, MiB, GiB, TiB: powers of 1,024;
// KB, MB, GB, TB: of 1,000; any case); "0" alone is taken. Errors read as the end of a sentence:
// "must be an amount with a unit such as 512MiB, got '512'".
absl::StatusOr<Bytes> ParseBytes(std::string_view text);
// The largest binary unit that divides the amount: "512MiB", "1000B".
std::string BytesText(Bytes bytes);
// For people, two digits: "1.3 GiB".
std::string RoundedBytesText(int64_t bytes);

// "250ms", "1.5s", "2m", "1h". The unit is required; "0" alone is taken. Errors as above.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);
// "250ms", "2m": the largest unit that divides it.
std::string DurationText(absl::Duration duration);

}  // namespace baton::config
