#include "common/model/hf_rope.h"

#include <string>

namespace baton::model {
namespace {

constexpr double kThetaMax = 1e12;
constexpr double kFactorMax = 1e6;
constexpr double kTiny = 1e-6;
constexpr int64_t kPositionsMax = int64_t{1} << 24;

// The reference implementation lets a filled `rope_scaling` win over `rope_parameters`.
std::string ScalingKey(const JsonFields& config) {
  const nlohmann::json* classic = config.Find("rope_scaling");
  return classic != nullptr && !classic->empty() ? "rope_scaling" : "rope_parameters";
}

absl::StatusOr<RopeKind> ParseKind(const JsonFields& scaling) {
  const std::string key = scaling.Has("rope_type") ? "rope_type" : "type";
  ASSIGN_OR_RETURN(const std::string kind, scaling.StringOr(key, "default"));
  if (kind == "default") return RopeKind::kDefault;
  if (kind == "linear") return RopeKind::kLinear;
  if (kind == "llama3") return RopeKind::kLlama3;
  if (kind == "yarn") return RopeKind::kYarn;
  return scaling.Unsupported(key, "default, linear, llama3, yarn");
}

absl::Status ParseLlama3(const JsonFields& scaling, RopeConfig& rope) {
  ASSIGN_OR_RETURN(rope.low_freq_factor, scaling.Number("low_freq_factor", kTiny, kFactorMax));
  ASSIGN_OR_RETURN(rope.high_freq_factor, scaling.Number("high_freq_factor", kTiny, kFactorMax));
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return scaling.Wrong("high_freq_factor",
                         fmt::format("more than low_freq_factor, {}", rope.low_freq_factor));
  }
  return absl::OkStatus();
}

absl::Status ParseYarn(const JsonFields& scaling, RopeConfig& rope) {
  ASSIGN_OR_RETURN(rope.beta_fast, scaling.NumberOr("beta_fast", 32, 0, kFactorMax));
  ASSIGN_OR_RETURN(rope.beta_slow, scaling.NumberOr("beta_slow", 1, 0, kFactorMax));
  if (rope.beta_fast == 0) rope.beta_fast = 32;  // as the reference reads a zero
  if (rope.beta_slow == 0) rope.beta_slow = 1;
  ASSIGN_OR_RETURN(rope.truncate, scaling.BoolOr("truncate", true));
  ASSIGN_OR_RETURN(rope.mscale, scaling.NumberOr("mscale", 0, 0, kFactorMax));
  ASSIGN_OR_RETURN(rope.mscale_all_dim, scaling.NumberOr("mscale_all_dim", 0, 0, kFactorMax));
  if (scaling.Has("attention_factor")) {
    ASSIGN_OR_RETURN(rope.attention_factor, scaling.Number("attention_factor", kTiny, kFactorMax));
  }
  return absl::OkStatus();
}

absl::Status ParseOriginalPositions(const JsonFields& config, const JsonFields& scaling,
                                    int32_t max_positions, RopeConfig& rope) {
  const char* key = "original_max_position_embeddings";
  const JsonFields& where = config.Has(key) ? config : scaling;
  ASSIGN_OR_RETURN(rope.original_max_positions,
                   where.IntegerOr(key, max_positions, 1, kPositionsMax));
  return absl::OkStatus();
}

absl::Status ParseFactor(const JsonFields& scaling, int32_t max_positions, RopeConfig& rope) {
  if (rope.kind == RopeKind::kYarn && !scaling.Has("factor")) {
    rope.factor = double(max_positions) / rope.original_max_positions;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(rope.factor, scaling.Number("factor", kTiny, kFactorMax));
  return absl::OkStatus();
}

absl::Status RefuseWhatIsMissing(const JsonFields& fields) {
  ASSIGN_OR_RETURN(const double rotated, fields.NumberOr("partial_rotary_factor", 1, 0, 1));
  if (rotated != 1) return fields.Unsupported("partial_rotary_factor", "1 (or no such field)");
  for (const char* key : {"mrope_section", "full_attention", "sliding_attention"}) {
    if (fields.Has(key)) return fields.Unsupported(key, "no such field");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeConfig> ParseRope(const JsonFields& config, int32_t max_positions) {
  static const nlohmann::json kNone = nlohmann::json::object();
  const std::string key = ScalingKey(config);
  const nlohmann::json* object = config.Find(key);
  if (object != nullptr && !object->is_object()) return config.Wrong(key, "an object or null");
  const JsonFields scaling(object == nullptr ? kNone : *object, config.file(), key + ".");

  RopeConfig rope;
  RETURN_IF_ERROR(RefuseWhatIsMissing(config));
  RETURN_IF_ERROR(RefuseWhatIsMissing(scaling));
  const JsonFields& theta_in = scaling.Has("rope_theta") ? scaling : config;
  ASSIGN_OR_RETURN(rope.theta, theta_in.NumberOr("rope_theta", 10000, 1.0001, kThetaMax));
  ASSIGN_OR_RETURN(rope.kind, ParseKind(scaling));
  if (rope.kind == RopeKind::kDefault) return rope;
  RETURN_IF_ERROR(ParseOriginalPositions(config, scaling, max_positions, rope));
  RETURN_IF_ERROR(ParseFactor(scaling, max_positions, rope));
  if (rope.kind == RopeKind::kLlama3) RETURN_IF_ERROR(ParseLlama3(scaling, rope));
  if (rope.kind == RopeKind::kYarn) RETURN_IF_ERROR(ParseYarn(scaling, rope));
  return rope;
}

}  // namespace baton::model
