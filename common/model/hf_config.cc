#include "common/model/hf_config.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "common/model/hf_rope.h"
#include "common/model/json_fields.h"

namespace baton::model {
namespace {

constexpr size_t kConfigBytesMax = 4 << 20;
// Positions are exact in float32 up to here; the rest is far above any real model and far below
// overflow.
constexpr int64_t kPositionsMax = int64_t{1} << 24;
constexpr int64_t kVocabMax = int64_t{1} << 24;
constexpr int64_t kHiddenMax = int64_t{1} << 16;
constexpr int64_t kIntermediateMax = int64_t{1} << 20;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kHeadsMax = 1024;
constexpr int64_t kHeadDimMax = 1024;

struct FamilyNames {
  Family family;
  const char* model_type;
  const char* architecture;
};
constexpr FamilyNames kFamilies[] = {
    {Family::kLlama, "llama", "LlamaForCausalLM"},
    {Family::kMistral, "mistral", "MistralForCausalLM"},
    {Family::kQwen2, "qwen2", "Qwen2ForCausalLM"},
    {Family::kQwen3, "qwen3", "Qwen3ForCausalLM"},
};
constexpr const char* kArchitectures =
    "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM";

absl::StatusOr<FamilyNames> FamilyByType(const JsonFields& config) {
  ASSIGN_OR_RETURN(const std::string type, config.StringOr("model_type", ""));
  for (const FamilyNames& names : kFamilies) {
    if (type == names.model_type) return names;
  }
  return config.Unsupported("model_type", "llama, mistral, qwen2, qwen3");
}

// `architectures` says which class made the weights; `model_type` stands in where it is missing,
// and where both are written they must agree.
absl::StatusOr<Family> ParseFamily(const JsonFields& config) {
  const nlohmann::json* list = config.Find("architectures");
  if (list == nullptr) {
    ASSIGN_OR_RETURN(const FamilyNames names, FamilyByType(config));
    return names.family;
  }
  if (!list->is_array() || list->size() != 1 || !list->front().is_string()) {
    return config.Unsupported("architectures", fmt::format("one of {}", kArchitectures));
  }
  const std::string architecture = list->front().get<std::string>();
  for (const FamilyNames& names : kFamilies) {
    if (architecture != names.architecture) continue;
    ASSIGN_OR_RETURN(const std::string type, config.StringOr("model_type", names.model_type));
    if (type == names.model_type) return names.family;
    return config.Wrong(
        "model_type", fmt::format("\"{}\", the type of {}", names.model_type, names.architecture));
  }
  return config.Unsupported("architectures", kArchitectures);
}

// Fields that would change the arithmetic in ways that this build does not have.
absl::Status RefuseUnsupported(const JsonFields& config) {
  ASSIGN_OR_RETURN(const std::string activation, config.StringOr("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish") {
    return config.Unsupported("hidden_act", "silu");
  }
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping", "clip_qkv",
                          "num_local_experts", "num_experts", "dual_chunk_attention_config"}) {
    if (config.Has(key)) return config.Unsupported(key, "no such field");
  }
  ASSIGN_OR_RETURN(const bool interleaved, config.BoolOr("rope_interleaved", false));
  if (interleaved) return config.Unsupported("rope_interleaved", "false");
  return absl::OkStatus();
}

absl::StatusOr<std::optional<kernels::DType>> ParseDType(const JsonFields& config) {
  const std::string key = config.Has("dtype") ? "dtype" : "torch_dtype";
  ASSIGN_OR_RETURN(const std::string name, config.StringOr(key, ""));
  if (name.empty()) return std::optional<kernels::DType>();
  if (name == "float32") return std::optional(kernels::DType::kF32);
  if (name == "float16") return std::optional(kernels::DType::kF16);
  if (name == "bfloat16") return std::optional(kernels::DType::kBF16);
  return config.Unsupported(key, "float32, float16, bfloat16");
}

absl::Status ParseSizes(const JsonFields& config, HfConfig& out) {
  ASSIGN_OR_RETURN(out.vocab, config.Integer("vocab_size", 1, kVocabMax));
  ASSIGN_OR_RETURN(out.hidden, config.Integer("hidden_size", 1, kHiddenMax));
  ASSIGN_OR_RETURN(out.intermediate, config.Integer("intermediate_size", 1, kIntermediateMax));
  ASSIGN_OR_RETURN(out.num_layers, config.Integer("num_hidden_layers", 1, kLayersMax));
  ASSIGN_OR_RETURN(out.max_positions, config.Integer("max_position_embeddings", 1, kPositionsMax));
  ASSIGN_OR_RETURN(out.rms_norm_epsilon, config.NumberOr("rms_norm_eps", 1e-6, 0, 1));
  return absl::OkStatus();
}

absl::StatusOr<int32_t> ParseHeadDim(const JsonFields& config, const HfConfig& so_far) {
  if (config.Has("head_dim")) {
    ASSIGN_OR_RETURN(const int64_t head_dim, config.Integer("head_dim", 2, kHeadDimMax));
    if (head_dim % 2 != 0) return config.Wrong("head_dim", "an even number");
    return int32_t(head_dim);
  }
  if (so_far.family == Family::kQwen3) return 128;  // the family's own default
  if (so_far.hidden % so_far.num_q_heads != 0) {
    return config.Wrong("hidden_size", fmt::format("a multiple of num_attention_heads, {}, or "
                                                   "an explicit head_dim",
                                                   so_far.num_q_heads));
  }
  const int32_t head_dim = so_far.hidden / so_far.num_q_heads;
  if (head_dim % 2 != 0 || head_dim > kHeadDimMax) {
    return config.Wrong("hidden_size",
                        fmt::format("num_attention_heads, {}, times an even head_dim of at most {}",
                                    so_far.num_q_heads, kHeadDimMax));
  }
  return head_dim;
}

absl::Status ParseHeads(const JsonFields& config, HfConfig& out) {
  ASSIGN_OR_RETURN(out.num_q_heads, config.Integer("num_attention_heads", 1, kHeadsMax));
  ASSIGN_OR_RETURN(out.num_kv_heads,
                   config.IntegerOr("num_key_value_heads", out.num_q_heads, 1, out.num_q_heads));
  if (out.num_q_heads % out.num_kv_heads != 0) {
    return config.Wrong("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads, {}", out.num_q_heads));
  }
  ASSIGN_OR_RETURN(out.head_dim, ParseHeadDim(config, out));
  return absl::OkStatus();
}

absl::Status ParseSwitches(const JsonFields& config, HfConfig& out) {
  ASSIGN_OR_RETURN(out.tied_embeddings, config.BoolOr("tie_word_embeddings", false));
  const bool reads_attention_bias = out.family == Family::kLlama || out.family == Family::kQwen3;
  ASSIGN_OR_RETURN(const bool attention_bias, config.BoolOr("attention_bias", false));
  ASSIGN_OR_RETURN(const bool mlp_bias, config.BoolOr("mlp_bias", false));
  if (attention_bias && out.family == Family::kMistral) {
    return config.Unsupported("attention_bias", "false for Mistral");
  }
  if (mlp_bias && out.family != Family::kLlama) {
    return config.Unsupported("mlp_bias", "true for Llama only");
  }
  out.o_bias = attention_bias && reads_attention_bias;
  out.qkv_bias = out.o_bias || out.family == Family::kQwen2;
  out.mlp_bias = mlp_bias;
  out.qk_norm = out.family == Family::kQwen3;
  return absl::OkStatus();
}

// The window that this family applies to the layers it applies one to; 0 for none at all.
absl::StatusOr<int32_t> ParseWindow(const JsonFields& config, Family family) {
  ASSIGN_OR_RETURN(const int64_t window, config.IntegerOr("sliding_window", 0, 1, kPositionsMax));
  if (family == Family::kLlama) return 0;
  if (family == Family::kMistral) return int32_t(window);
  ASSIGN_OR_RETURN(const bool used, config.BoolOr("use_sliding_window", false));
  return used ? int32_t(window) : 0;
}

// `layer_types`, which newer folders write, against what the family would do by itself.
absl::Status ApplyLayerTypes(const JsonFields& config, int32_t window, HfConfig& out) {
  const nlohmann::json* types = config.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() || types->size() != size_t(out.num_layers)) {
    return config.Wrong("layer_types", fmt::format("a list of {} names", out.num_layers));
  }
  const bool per_layer = out.family == Family::kQwen2 || out.family == Family::kQwen3;
  for (int32_t layer = 0; layer < out.num_layers; ++layer) {
    const nlohmann::json& type = (*types)[layer];
    const bool sliding = type == "sliding_attention";
    if (!sliding && type != "full_attention") {
      return config.Unsupported("layer_types", "full_attention, sliding_attention");
    }
    if (sliding && window == 0) {
      return config.Wrong("layer_types", "full_attention only, as no sliding_window is in use");
    }
    if (per_layer) {
      out.layer_windows[layer] = sliding ? window : 0;
    } else if (sliding != (out.layer_windows[layer] != 0)) {
      return config.Unsupported("layer_types", "one kind of attention in all layers");
    }
  }
  return absl::OkStatus();
}

absl::Status ParseWindows(const JsonFields& config, HfConfig& out) {
  ASSIGN_OR_RETURN(const int32_t window, ParseWindow(config, out.family));
  int64_t first = 0;  // first layer with a window
  if (out.family == Family::kQwen2 || out.family == Family::kQwen3) {
    ASSIGN_OR_RETURN(first, config.IntegerOr("max_window_layers", 28, 0, kLayersMax));
  }
  out.layer_windows.assign(out.num_layers, 0);
  for (int64_t layer = first; layer < out.num_layers; ++layer) out.layer_windows[layer] = window;
  return ApplyLayerTypes(config, window, out);
}

// An id, a list of ids, or nothing.
absl::StatusOr<std::vector<int32_t>> ParseEos(const JsonFields& fields, int32_t vocab) {
  std::vector<int32_t> ids;
  const nlohmann::json* value = fields.Find("eos_token_id");
  if (value == nullptr) return ids;
  const std::string expected = fmt::format("token ids from 0 to {}", vocab - 1);
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= vocab)
      return fields.Wrong("eos_token_id", expected);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// With yarn, folders write either the stretched or the original context into
// max_position_embeddings.
void StretchContext(HfConfig& out) {
  if (out.rope.kind != RopeKind::kYarn) return;
  const double stretched = out.rope.factor * out.rope.original_max_positions;
  out.max_positions =
      std::max<int64_t>(out.max_positions, int64_t(std::min(stretched, double(kPositionsMax))));
}

absl::StatusOr<std::string> ReadText(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) return NotFound("{}: {}", path.string(), error.message());
  if (bytes > kConfigBytesMax) {
    return InvalidArgument("{}: {} bytes, the limit is {}", path.string(), bytes, kConfigBytesMax);
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound("{}: cannot be read", path.string());
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

std::string_view NameOf(Family family) {
  for (const FamilyNames& names : kFamilies) {
    if (names.family == family) return names.model_type;
  }
  return "?";
}

absl::StatusOr<HfConfig> ParseHfConfig(std::string_view config_json,
                                       std::string_view generation_config_json) {
  ASSIGN_OR_RETURN(const nlohmann::json json,
                   ParseJsonObject(config_json, "config.json", kConfigBytesMax));
  const JsonFields config(json, "config.json");
  HfConfig out;
  ASSIGN_OR_RETURN(out.family, ParseFamily(config));
  RETURN_IF_ERROR(RefuseUnsupported(config));
  ASSIGN_OR_RETURN(out.dtype, ParseDType(config));
  if (const nlohmann::json* quantization = config.Find("quantization_config")) {
    if (!quantization->is_object()) return config.Wrong("quantization_config", "an object");
    ASSIGN_OR_RETURN(out.quantization, ParseHfQuantization(*quantization));
  }
  RETURN_IF_ERROR(ParseSizes(config, out));
  RETURN_IF_ERROR(ParseHeads(config, out));
  RETURN_IF_ERROR(ParseSwitches(config, out));
  RETURN_IF_ERROR(ParseWindows(config, out));
  ASSIGN_OR_RETURN(out.rope, ParseRope(config, out.max_positions));
  StretchContext(out);
  if (!generation_config_json.empty()) {
    ASSIGN_OR_RETURN(
        const nlohmann::json generation,
        ParseJsonObject(generation_config_json, "generation_config.json", kConfigBytesMax));
    ASSIGN_OR_RETURN(out.eos_token_ids,
                     ParseEos(JsonFields(generation, "generation_config.json"), out.vocab));
  }
  if (out.eos_token_ids.empty()) {
    ASSIGN_OR_RETURN(out.eos_token_ids, ParseEos(config, out.vocab));
  }
  return out;
}

absl::StatusOr<HfConfig> ReadHfConfig(const std::filesystem::path& model_dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(model_dir, error)) {
    return NotFound("{}: no such folder", model_dir.string());
  }
  ASSIGN_OR_RETURN(const std::string config, ReadText(model_dir / "config.json"));
  std::string generation;
  if (std::filesystem::exists(model_dir / "generation_config.json", error)) {
    ASSIGN_OR_RETURN(generation, ReadText(model_dir / "generation_config.json"));
  }
  absl::StatusOr<HfConfig> parsed = ParseHfConfig(config, generation);
  if (!parsed.ok()) return Annotate(parsed.status(), model_dir.string());
  return parsed;
}

int64_t HfConfig::num_parameters() const {
  const int64_t q = int64_t{num_q_heads} * head_dim;
  const int64_t kv = int64_t{num_kv_heads} * head_dim;
  int64_t layer = (q + 2 * kv) * hidden + q * hidden + 3 * int64_t{intermediate} * hidden;
  layer += 2 * int64_t{hidden} + (qk_norm ? 2 * head_dim : 0);
  layer += (qkv_bias ? q + 2 * kv : 0) + (o_bias ? hidden : 0);
  layer += mlp_bias ? 2 * int64_t{intermediate} + hidden : 0;
  const int64_t embeddings = int64_t{vocab} * hidden * (tied_embeddings ? 1 : 2);
  return embeddings + num_layers * layer + hidden;
}

std::string HfConfig::Canonical() const {
  std::string text = fmt::format(
      "V={} H={} F={} L={} Hq={} Hkv={} D={} eps={} tied={} bias={}{}{} qk_norm={}", vocab, hidden,
      intermediate, num_layers, num_q_heads, num_kv_heads, head_dim, rms_norm_epsilon,
      int{tied_embeddings}, int{qkv_bias}, int{o_bias}, int{mlp_bias}, int{qk_norm});
  text += fmt::format(
      " rope={} theta={} factor={} context={} low={} high={} fast={} slow={} "
      "truncate={} mscale={}/{} attention={}",
      int(rope.kind), rope.theta, rope.factor, rope.original_max_positions, rope.low_freq_factor,
      rope.high_freq_factor, rope.beta_fast, rope.beta_slow, int{rope.truncate}, rope.mscale,
      rope.mscale_all_dim, RopeAttentionFactor(rope));
  text += fmt::format(" windows={}", fmt::join(layer_windows, ","));
  if (quantization) text += " " + quantization->Canonical();
  return text;
}

}  // namespace baton::model
