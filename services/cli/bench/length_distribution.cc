#include "services/cli/bench/length_distribution.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace baton::cli {
namespace {

constexpr double kLongest = 1 << 24;

std::optional<double> Number(std::string_view text, double least, double most) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(value >= least && value <= most)) return std::nullopt;
  return value;
}

}  // namespace

absl::StatusOr<LengthDistribution> LengthDistribution::Parse(std::string_view text) {
  LengthDistribution parsed;
  parsed.text_ = std::string(text);
  const absl::Status wrong = InvalidArgument(
      "must be N, uniform:MIN-MAX or lognormal:MEDIAN,SIGMA in tokens, got '{}'", text);
  const size_t colon = text.find(':');
  const std::string_view kind = colon == std::string_view::npos ? "fixed" : text.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos ? text : text.substr(colon + 1);
  if (kind == "fixed") {
    const auto length = Number(rest, 1, kLongest);
    if (!length) return wrong;
    parsed.a_ = std::floor(*length);
    return parsed;
  }
  const bool uniform = kind == "uniform";
  if (!uniform && kind != "lognormal") return wrong;
  const size_t middle = rest.find(uniform ? '-' : ',');
  if (middle == std::string_view::npos) return wrong;
  const auto a = Number(rest.substr(0, middle), 1, kLongest);
  const auto b = Number(rest.substr(middle + 1), 0, uniform ? kLongest : 10);
  if (!a || !b || (uniform && *b < *a)) return wrong;
  parsed.kind_ = uniform ? Kind::kUniform : Kind::kLognormal;
  parsed.a_ = *a;
  parsed.b_ = *b;
  return parsed;
}

int32_t LengthDistribution::Draw(std::mt19937_64& random, int32_t most) const {
  double length = a_;
  if (kind_ == Kind::kUniform) {
    length = std::uniform_int_distribution<int64_t>(static_cast<int64_t>(a_),
                                                    static_cast<int64_t>(b_))(random);
  } else if (kind_ == Kind::kLognormal) {
    length = std::lognormal_distribution<double>(std::log(a_), b_)(random);
  }
  return static_cast<int32_t>(
      std::clamp(std::round(length), 1.0, static_cast<double>(std::max(1, most))));
}

}  // namespace baton::cli
