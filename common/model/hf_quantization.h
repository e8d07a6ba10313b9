#pragma once

#include <cstdint>
#include <string>

#include "common/base/status.h"
#include "common/model/json_fields.h"
#include "kernels/dtype.h"

namespace baton::model {

// How the matrices of a folder's layers are stored when somebody has quantized them: what
// `quantization_config` in config.json says. The embedding and the head are stored as ever.
struct HfQuantization {
  enum class Format : uint8_t {
    kIntQuantized,   // compressed-tensors, one element a byte
    kPackQuantized,  // compressed-tensors, packed into int32
    kGptq,
    kAwq,
  };
  Format format = Format::kIntQuantized;
  int32_t bits = 8;             // 4 or 8
  int32_t group = 0;            // inputs that share a scale: 32, 64 or 128; 0: all of an output's
  bool has_zeros = false;       // elements have a zero of their own per scale
  bool zeros_less_one = false;  // GPTQ's first format stores them so

  // What backends keep such weights in, without rounding them again.
  kernels::DType kept_in() const;
  // Part of the fingerprint.
  std::string Canonical() const;
};

// Of the value of `quantization_config`. UNIMPLEMENTED, naming the field and what would do, for
// what Baton cannot load.
absl::StatusOr<HfQuantization> ParseHfQuantization(const nlohmann::json& json);

}  // namespace baton::model
