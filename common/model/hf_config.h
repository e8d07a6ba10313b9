#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/model/hf_quantization.h"
#include "common/model/rope.h"
#include "kernels/dtype.h"

namespace baton::model {

enum class Family : uint8_t { kLlama, kMistral, kQwen2, kQwen3 };
std::string_view NameOf(Family family);

// A decoder-only transformer as its Hugging Face folder describes it, checked: every size is in
// range and the sizes fit each other. A plain value. What differs between the families is spelled
// out as fields, so that nothing after this has to ask which family it is.
struct HfConfig {
  Family family = Family::kLlama;
  int32_t vocab = 0;         // V
  int32_t hidden = 0;        // H
  int32_t intermediate = 0;  // F
  int32_t num_layers = 0;
  int32_t num_q_heads = 0;    // Hq
  int32_t num_kv_heads = 0;   // Hkv, divides Hq
  int32_t head_dim = 0;       // D, even
  int32_t max_positions = 0;  // longest context; with yarn, what the scaling stretches it to
  float rms_norm_epsilon = 0;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;
  RopeConfig rope;
  std::vector<int32_t> layer_windows;   // [num_layers] sliding window in tokens; 0: whole context
  std::optional<kernels::DType> dtype;  // what config.json says of the weights; they decide
  std::optional<HfQuantization> quantization;  // none: weights in f32, f16 or bf16
  std::vector<int32_t> eos_token_ids;          // generation_config.json's, else config.json's

  int64_t num_parameters() const;
  // Every field that changes the arithmetic, in one line: part of the fingerprint.
  std::string Canonical() const;
};

// From the texts of config.json and generation_config.json ("" when the folder has none).
// UNIMPLEMENTED when a field asks for what Baton cannot do, INVALID_ARGUMENT when a field is wrong;
// both name the field, its value and what would do.
absl::StatusOr<HfConfig> ParseHfConfig(std::string_view config_json,
                                       std::string_view generation_config_json);

// Reads both files of `model_dir`.
absl::StatusOr<HfConfig> ReadHfConfig(const std::filesystem::path& model_dir);

}  // namespace baton::model
