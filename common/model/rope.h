#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace baton::model {

// How rotary position embeddings stretch beyond the context a model was trained on. The names are
// those of `rope_type` in config.json.
enum class RopeKind : uint8_t { kDefault, kLinear, kLlama3, kYarn };

// A plain value, checked by the parser of config.json: factors are positive, theta > 1.
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000;
  double factor = 1;                       // all kinds but kDefault
  int32_t original_max_positions = 0;      // kLlama3, kYarn: context before stretching
  double low_freq_factor = 1;              // kLlama3
  double high_freq_factor = 4;             // kLlama3
  double beta_fast = 32;                   // kYarn
  double beta_slow = 1;                    // kYarn
  bool truncate = true;                    // kYarn: whole dimensions bound the ramp
  double mscale = 0;                       // kYarn; 0: not given
  double mscale_all_dim = 0;               // kYarn; 0: not given
  std::optional<double> attention_factor;  // kYarn; absent: derived from factor and the mscales
};

// Angle per position of each pair of a head, [head_dim / 2], computed in float32 in the order of
// operations of the reference implementation, so that angles agree at long positions too.
std::vector<float> InverseFrequencies(const RopeConfig& rope, int32_t head_dim);

// What cos and sin are multiplied by: 1 except for yarn.
float RopeAttentionFactor(const RopeConfig& rope);

// [num_positions][head_dim / 2] each, already multiplied by RopeAttentionFactor().
struct RopeTables {
  std::vector<float> cos;
  std::vector<float> sin;
};
RopeTables MakeRopeTables(const RopeConfig& rope, int32_t head_dim, int32_t num_positions);

}  // namespace baton::model
