#include "common/model/hf_quantization.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace baton::model {
namespace {

using Format = HfQuantization::Format;

constexpr char kFile[] = "config.json";

// `group_size`: -1 or none is a scale for a whole output.
absl::StatusOr<int32_t> ParseGroup(const JsonFields& fields, std::string_view key) {
  ASSIGN_OR_RETURN(const int64_t group, fields.IntegerOr(key, -1, -1, 1 << 20));
  if (group == -1) return 0;
  if (group == 32 || group == 64 || group == 128) return int32_t(group);
  return fields.Unsupported(key, "32, 64, 128 or -1");
}

// Something of a compressed-tensors group that is an object, or absent.
absl::StatusOr<const nlohmann::json*> ObjectOr(const JsonFields& fields, std::string_view key) {
  const nlohmann::json* value = fields.Find(key);
  if (value != nullptr && !value->is_object()) return fields.Wrong(key, "an object");
  return value;
}

absl::Status CheckActivations(const JsonFields& group, const std::string& at) {
  if (group.Has("output_activations")) return group.Unsupported("output_activations", "null");
  ASSIGN_OR_RETURN(const nlohmann::json* json, ObjectOr(group, "input_activations"));
  if (json == nullptr) return absl::OkStatus();
  const JsonFields fields(*json, kFile, at + "input_activations.");
  ASSIGN_OR_RETURN(const int64_t bits, fields.IntegerOr("num_bits", 8, 1, 64));
  if (bits != 8) return fields.Unsupported("num_bits", "8");
  ASSIGN_OR_RETURN(const std::string type, fields.StringOr("type", "int"));
  if (type != "int") return fields.Unsupported("type", "int");
  ASSIGN_OR_RETURN(const bool symmetric, fields.BoolOr("symmetric", true));
  if (!symmetric) return fields.Unsupported("symmetric", "true");
  ASSIGN_OR_RETURN(const bool dynamic, fields.BoolOr("dynamic", false));
  if (!dynamic) return fields.Unsupported("dynamic", "true: scales that go with the token");
  return absl::OkStatus();
}

absl::Status ParseWeights(const JsonFields& weights, HfQuantization& out) {
  ASSIGN_OR_RETURN(const std::string type, weights.StringOr("type", "int"));
  if (type != "int") return weights.Unsupported("type", "int");
  ASSIGN_OR_RETURN(const int64_t bits, weights.Integer("num_bits", 1, 64));
  if (bits != 4 && bits != 8) return weights.Unsupported("num_bits", "4 or 8");
  out.bits = int32_t(bits);
  ASSIGN_OR_RETURN(const bool symmetric, weights.BoolOr("symmetric", true));
  out.has_zeros = !symmetric;
  ASSIGN_OR_RETURN(const std::string strategy, weights.StringOr("strategy", ""));
  if (strategy == "group") {
    ASSIGN_OR_RETURN(out.group, ParseGroup(weights, "group_size"));
  } else if (strategy != "channel") {
    return weights.Unsupported("strategy", "channel or group");
  }
  ASSIGN_OR_RETURN(const std::string order, weights.StringOr("actorder", "weight"));
  if (order != "weight" && order != "static") {
    return weights.Unsupported("actorder", "null or weight: inputs in their own order");
  }
  if (bits == 8 && out.group != 0) return weights.Unsupported("group_size", "null with 8 bits");
  if (bits == 8 && out.has_zeros) return weights.Unsupported("symmetric", "true with 8 bits");
  return absl::OkStatus();
}

absl::StatusOr<HfQuantization> ParseCompressedTensors(const JsonFields& config) {
  HfQuantization out;
  ASSIGN_OR_RETURN(const std::string format, config.StringOr("format", ""));
  if (format != "int-quantized" && format != "pack-quantized") {
    return config.Unsupported("format", "int-quantized or pack-quantized");
  }
  out.format = format == "int-quantized" ? Format::kIntQuantized : Format::kPackQuantized;
  if (config.Has("kv_cache_scheme")) return config.Unsupported("kv_cache_scheme", "null");
  ASSIGN_OR_RETURN(const nlohmann::json* groups, ObjectOr(config, "config_groups"));
  if (groups == nullptr || groups->size() != 1 || !groups->front().is_object()) {
    return config.Unsupported("config_groups", "one group for all Linear layers");
  }
  const std::string at =
      fmt::format("quantization_config.config_groups.{}.", groups->items().begin().key());
  const JsonFields group(groups->front(), kFile, at);
  RETURN_IF_ERROR(CheckActivations(group, at));
  ASSIGN_OR_RETURN(const nlohmann::json* weights, ObjectOr(group, "weights"));
  if (weights == nullptr) return group.Wrong("weights", "an object");
  RETURN_IF_ERROR(ParseWeights(JsonFields(*weights, kFile, at + "weights."), out));
  return out;
}

absl::Status CheckFourBits(const JsonFields& config) {
  ASSIGN_OR_RETURN(const int64_t bits, config.Integer("bits", 1, 64));
  return bits == 4 ? absl::OkStatus() : config.Unsupported("bits", "4");
}

absl::StatusOr<HfQuantization> ParseGptq(const JsonFields& config) {
  HfQuantization out{.format = Format::kGptq, .bits = 4, .has_zeros = true};
  RETURN_IF_ERROR(CheckFourBits(config));
  ASSIGN_OR_RETURN(out.group, ParseGroup(config, "group_size"));
  ASSIGN_OR_RETURN(const bool reordered, config.BoolOr("desc_act", false));
  if (reordered) return config.Unsupported("desc_act", "false: inputs in their own order");
  ASSIGN_OR_RETURN(const bool with_head, config.BoolOr("lm_head", false));
  if (with_head) return config.Unsupported("lm_head", "false");
  ASSIGN_OR_RETURN(const std::string format, config.StringOr("checkpoint_format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    return config.Unsupported("checkpoint_format", "gptq or gptq_v2");
  }
  out.zeros_less_one = format == "gptq";
  return out;
}

absl::StatusOr<HfQuantization> ParseAwq(const JsonFields& config) {
  HfQuantization out{.format = Format::kAwq, .bits = 4, .has_zeros = true};
  RETURN_IF_ERROR(CheckFourBits(config));
  ASSIGN_OR_RETURN(out.group, ParseGroup(config, "group_size"));
  ASSIGN_OR_RETURN(const bool has_zeros, config.BoolOr("zero_point", true));
  if (!has_zeros) return config.Unsupported("zero_point", "true");
  ASSIGN_OR_RETURN(std::string version, config.StringOr("version", "gemm"));
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  if (version != "gemm") return config.Unsupported("version", "gemm");
  return out;
}

}  // namespace

kernels::DType HfQuantization::kept_in() const {
  if (bits == 8) return kernels::DType::kInt8;
  if (group == 32) return kernels::DType::kInt4G32;
  return group == 64 ? kernels::DType::kInt4G64 : kernels::DType::kInt4G128;
}

std::string HfQuantization::Canonical() const {
  return fmt::format("quantized format {} bits {} group {} zeros {} less one {}", int(format), bits,
                     group, has_zeros, zeros_less_one);
}

absl::StatusOr<HfQuantization> ParseHfQuantization(const nlohmann::json& json) {
  const JsonFields config(json, kFile, "quantization_config.");
  ASSIGN_OR_RETURN(const std::string method, config.StringOr("quant_method", ""));
  if (method == "compressed-tensors") return ParseCompressedTensors(config);
  if (method == "gptq") return ParseGptq(config);
  if (method == "awq") return ParseAwq(config);
  return config.Unsupported("quant_method", "compressed-tensors, gptq or awq");
}

}  // namespace baton::model
