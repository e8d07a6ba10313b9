#include "common/model/load_model.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/model/checkpoint.h"
#include "common/model/digest.h"
#include "common/model/load_ranks.h"
#include "common/model/quantized_checkpoint.h"
#include "common/model/random_weights.h"
#include "common/model/tensor_parallel_runner.h"
#include "common/model/transformer.h"

namespace baton::model {
namespace {

using kernels::DType;

// Raised when the same bytes would mean another KV: part of the fingerprint.
constexpr std::string_view kKvLayout = "baton-kv-1 [layer][block][K|V][kv_head][token][head_dim]";

DType Resolve(WeightDType wanted, DType stored) {
  if (wanted == WeightDType::kF32) return DType::kF32;
  if (wanted == WeightDType::kBF16) return DType::kBF16;
  return stored == DType::kF32 ? DType::kF32 : DType::kBF16;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenSource(const LoadOptions& options,
                                                         const HfConfig& config) {
  if (options.format == LoadFormat::kRandom) {
    const DType dtype = Resolve(options.dtype, config.dtype.value_or(DType::kF32));
    return std::make_unique<RandomWeights>(options.random_seed, dtype);
  }
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(options.model_dir));
  if (config.quantization) {
    return std::make_unique<QuantizedCheckpoint>(std::move(checkpoint), *config.quantization);
  }
  return std::make_unique<Checkpoint>(std::move(checkpoint));
}

absl::Status CheckShape(const HfConfig& config, const Shard& shard,
                        const kernels::Backend& backend) {
  const std::string why_not = backend.WhyNot({.hidden = config.hidden,
                                              .intermediate = shard.intermediate.count,
                                              .head_dim = config.head_dim});
  if (why_not.empty()) return absl::OkStatus();
  const std::string_view instead = backend.memory() ? "; device cpu has no such limit" : "";
  if (shard.size == 1) return Unimplemented("config.json: {}{}", why_not, instead);
  return Unimplemented("config.json: a rank's part of it, with tensor_parallel_size {}: {}{}",
                       shard.size, why_not, instead);
}

absl::StatusOr<WeightTypes> TypesOf(const LoadOptions& options, const HfConfig& config,
                                    DType dtype) {
  if (!config.quantization) return WeightTypesOf(dtype, options.quantize);
  const DType kept = config.quantization->kept_in();
  if (options.quantize) {
    return InvalidArgument(
        "quantize is {}, but the weights are quantized already, to {}, by config.json's "
        "quantization_config",
        NameOf(*options.quantize), NameOf(kept));
  }
  return WeightTypes{.embedding = dtype, .matrices = kept, .head = dtype};
}

absl::Status CheckQuantize(const HfConfig& config, const WeightTypes& types,
                           const kernels::Backend& backend) {
  if (!backend.Keeps(types.matrices)) {
    return Unimplemented(
        "weights in {}, as quantize or config.json's quantization_config has it: {} keeps them in "
        "f32 or bf16 only",
        NameOf(types.matrices), backend.name());
  }
  const int64_t widest =
      std::max({config.hidden, config.intermediate, config.num_q_heads * config.head_dim});
  if (!IsQuantizedWeight(types.matrices) || widest <= kernels::kInt8ColsMax)
    return absl::OkStatus();
  return Unimplemented("quantize is {}, for at most {} inputs of a weight; config.json has {}",
                       NameOf(types.matrices), kernels::kInt8ColsMax, widest);
}

// Refuses at once what would otherwise end in the kernel's out-of-memory killer minutes later, or
// half-way through a load to a device.
absl::Status CheckDeviceMemory(const HfConfig& config, const Shard& shard,
                               const TransformerOptions& runner, const WeightTypes& types,
                               const kernels::Backend& backend,
                               const kernels::DeviceMemory& memory) {
  const double need = double(WeightBytes(config, shard, types));
  const double scratch =
      double(ScratchBytes(config, shard, runner, backend.activation_dtype(types.matrices)));
  if (need + scratch <= double(memory.bytes_free)) return absl::OkStatus();
  return ResourceExhausted(
      "config.json describes {} parameters, {:.2f} GB in {}{}, and a step of {} tokens with {} "
      "rows "
      "of logits takes {:.2f} GB; the device has {:.2f} of {:.2f} GB of memory free{}",
      config.num_parameters(), need / 1e9, NameOf(types.matrices),
      shard.size == 1 ? "" : fmt::format(" on each of {} devices", shard.size),
      runner.step_tokens_max, runner.logits_rows_max, scratch / 1e9,
      double(memory.bytes_free) / 1e9, double(memory.bytes) / 1e9,
      need < double(memory.bytes_free)
          ? "; a smaller step_tokens_max and batch_sequences_max would fit"
          : "");
}

absl::Status CheckHostMemory(const HfConfig& config, int64_t weight_bytes, DType dtype) {
  const double need = double(weight_bytes);
  const double have = double(::sysconf(_SC_PHYS_PAGES)) * double(::sysconf(_SC_PAGESIZE));
  if (need <= have) return absl::OkStatus();
  return ResourceExhausted(
      "config.json describes {} parameters, {:.1f} GB in {}; this machine has "
      "{:.1f} GB of memory",
      config.num_parameters(), need / 1e9, NameOf(dtype), have / 1e9);
}

absl::Status CheckMemory(const HfConfig& config, const TransformerOptions& runner,
                         const WeightTypes& types, std::span<const RankDevice> ranks) {
  int64_t on_host = 0;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const Shard shard = ShardOf(config, int32_t(r), int32_t(ranks.size()));
    const kernels::Backend& backend = *ranks[r].backend;
    if (const auto memory = backend.memory()) {
      RETURN_IF_ERROR(CheckDeviceMemory(config, shard, runner, types, backend, *memory));
    } else {
      on_host += WeightBytes(config, shard, types);
    }
  }
  return CheckHostMemory(config, on_host, types.matrices);
}

std::string Fingerprint(const HfConfig& config, const WeightSource& source,
                        const WeightTypes& types, DType kv_dtype, const kernels::Backend& backend) {
  const std::string quantized =
      types.matrices == types.embedding
          ? ""
          : fmt::format(" quantized to {}, head {}", NameOf(types.matrices), NameOf(types.head));
  Digest digest;
  digest.Add(fmt::format("{}\n{}\n{}\nweights {}{} kv {}\n{}\n", kKvLayout, backend.name(),
                         config.Canonical(), NameOf(types.embedding), quantized, NameOf(kv_dtype),
                         source.ContentHash()));
  return digest.Hex();
}

}  // namespace

absl::StatusOr<WeightDType> ParseWeightDType(std::string_view text) {
  if (text == "auto") return WeightDType::kAuto;
  if (text == "f32") return WeightDType::kF32;
  if (text == "bf16") return WeightDType::kBF16;
  return InvalidArgument("dtype is \"{}\"; expected auto, f32 or bf16", text);
}

absl::StatusOr<LoadFormat> ParseLoadFormat(std::string_view text) {
  if (text == "safetensors") return LoadFormat::kSafetensors;
  if (text == "random") return LoadFormat::kRandom;
  return InvalidArgument("load_format is \"{}\"; expected safetensors or random", text);
}

absl::Status LoadOptions::Validate() const {
  if (step_tokens_max < 1)
    return InvalidArgument("step_tokens_max is {}, at least 1", step_tokens_max);
  if (logits_rows_max < 1)
    return InvalidArgument("logits_rows_max is {}, at least 1", logits_rows_max);
  if (context_tokens_max < 0) {
    return InvalidArgument("context_tokens_max is {}, at least 0", context_tokens_max);
  }
  if (kv_dtype == DType::kF16) {
    return InvalidArgument("kv_dtype is f16; expected f32, bf16, fp8 or int8");
  }
  if (quantize && !IsQuantizedWeight(*quantize)) {
    return InvalidArgument("quantize is {}; expected int8 or int4", NameOf(*quantize));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const LoadOptions& options,
                                                       std::span<const RankDevice> ranks) {
  RETURN_IF_ERROR(options.Validate());
  const int32_t size = int32_t(ranks.size());
  ASSIGN_OR_RETURN(const HfConfig config, ReadHfConfig(options.model_dir));
  RETURN_IF_ERROR(CheckTensorParallel(config, size));
  ASSIGN_OR_RETURN(const std::unique_ptr<WeightSource> source, OpenSource(options, config));
  const DType dtype = Resolve(options.dtype, source->dtype());
  ASSIGN_OR_RETURN(const WeightTypes types, TypesOf(options, config, dtype));
  RETURN_IF_ERROR(CheckQuantize(config, types, *ranks[0].backend));
  for (int32_t r = 0; r < size; ++r) {
    RETURN_IF_ERROR(CheckShape(config, ShardOf(config, r, size), *ranks[r].backend));
  }
  TransformerOptions runner;
  runner.name = options.name.empty() ? ServedName(options.model_dir) : options.name;
  runner.kv_dtype = options.kv_dtype.value_or(dtype);
  runner.step_tokens_max = options.step_tokens_max;
  runner.logits_rows_max = options.logits_rows_max;
  runner.context_tokens_max = options.context_tokens_max;
  RETURN_IF_ERROR(CheckMemory(config, runner, types, ranks));
  const OpenWeights open = [&] { return OpenSource(options, config); };
  ASSIGN_OR_RETURN(std::vector<Weights> weights,
                   LoadRanks(config, types, ranks, open, options.progress));
  runner.fingerprint = Fingerprint(config, *source, types, runner.kv_dtype, *ranks[0].backend);
  std::vector<std::unique_ptr<Transformer>> transformers;
  for (int32_t r = 0; r < size; ++r) {
    transformers.push_back(std::make_unique<Transformer>(
        config, std::move(weights[r]), *ranks[r].backend, runner,
        RankOptions{ShardOf(config, r, size), ranks[r].collective, options.on_failure}));
  }
  if (size == 1) return std::move(transformers[0]);
  return std::make_unique<TensorParallelRunner>(std::move(transformers));
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const LoadOptions& options,
                                                       kernels::Backend& backend) {
  const RankDevice device{&backend};
  return LoadModel(options, std::span(&device, 1));
}

absl::StatusOr<ModelInfo> ReadModelInfo(const std::filesystem::path& model_dir,
                                        std::string_view name) {
  ASSIGN_OR_RETURN(const HfConfig config, ReadHfConfig(model_dir));
  return InfoOf(config, name.empty() ? ServedName(model_dir) : std::string(name), 0);
}

std::string ServedName(const std::filesystem::path& model_dir) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(model_dir, error);
  std::filesystem::path path = error ? model_dir.lexically_normal() : whole;
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace baton::model
