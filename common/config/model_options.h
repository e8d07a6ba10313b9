#pragma once

#include <cstdint>
#include <string>

#include "common/config/option_set.h"

namespace baton::config {

// `kAuto` computes in bf16 when the weights are stored in 16 bits and the CPU multiplies bf16 well.
enum class Dtype : uint8_t { kAuto, kF32, kBf16 };
// `kAuto` keeps KV as the weights are kept; fp8 and int8 take about half of bf16's memory.
enum class KvDtype : uint8_t { kAuto, kF32, kBf16, kFp8, kInt8 };
// Weights that are multiplied are kept in one byte, or in half of one with a scale for 32, 64 or
// 128 of them; what they meet is rounded to int8.
enum class Quantize : uint8_t { kNone, kInt8, kInt4G32, kInt4G64, kInt4G128 };
// `kRandom` makes weights of config.json's shapes up: for benchmarks at real sizes.
enum class LoadFormat : uint8_t { kAuto, kSafetensors, kRandom };

// Section `model`: what is served. The same for routers and workers.
struct ModelOptions {
  std::string path;  // a Hugging Face folder
  std::string name;  // as clients call it; empty: the folder's name
  Dtype dtype = Dtype::kAuto;
  Quantize quantize = Quantize::kNone;
  KvDtype kv_dtype = KvDtype::kAuto;
  LoadFormat load_format = LoadFormat::kAuto;

  void AddTo(OptionSet& set);
  // FAILED_PRECONDITION naming --model when there is no such folder, or none was given.
  absl::Status Validate() const;
  // `name`, or the last part of `path`.
  std::string served_name() const;
};

}  // namespace baton::config
