#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace baton::cli {

// How many tokens a prompt or an answer has. A plain value; draws are the caller's generator's.
//   "128" or "fixed:128"     always 128
//   "uniform:16-256"         every length from 16 to 256 alike
//   "lognormal:200,0.8"      median 200, sigma of the logarithm 0.8: a few long ones, as chats have
class LengthDistribution {
 public:
  // Errors read as the end of a sentence.
  static absl::StatusOr<LengthDistribution> Parse(std::string_view text);

  // From 1 to `most`.
  int32_t Draw(std::mt19937_64& random, int32_t most) const;
  const std::string& text() const { return text_; }

 private:
  enum class Kind { kFixed, kUniform, kLognormal };
  Kind kind_ = Kind::kFixed;
  double a_ = 1;  // fixed length, least length, or median
  double b_ = 0;  // longest length, or sigma
  std::string text_;
};

}  // namespace baton::cli
