#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/base/status.h"
#include "common/model/model_runner.h"
#include "common/model/weights.h"
#include "kernels/backend.h"
#include "kernels/collective.h"

namespace baton::model {

// Precision of weights. Norms and biases are f32 always.
enum class WeightDType : uint8_t {
  kAuto,  // bf16 for checkpoints in bf16 or f16, f32 for those in f32
  kF32,
  kBF16,
};
// "auto", "f32", "bf16": the values of --dtype.
absl::StatusOr<WeightDType> ParseWeightDType(std::string_view text);

enum class LoadFormat : uint8_t {
  kSafetensors,
  kRandom,  // weights made up from config.json alone: for benchmarks at real shapes
};
// "safetensors", "random": the values of --load-format.
absl::StatusOr<LoadFormat> ParseLoadFormat(std::string_view text);

struct LoadOptions {
  std::filesystem::path model_dir;  // a Hugging Face folder
  std::string name;                 // served name; empty: the folder's
  WeightDType dtype = WeightDType::kAuto;
  // What matrices are rounded to, int8 or int4; none: they stay in `dtype`. The embedding does
  // always.
  std::optional<kernels::DType> quantize;
  std::optional<kernels::DType> kv_dtype;  // none: as `dtype` says; not f16
  LoadFormat format = LoadFormat::kSafetensors;
  uint64_t random_seed = 0;        // kRandom; equal on all workers of a cluster
  int32_t context_tokens_max = 0;  // 0: the model's own; else at most that
  int32_t step_tokens_max = 512;   // largest T that a step will have
  int32_t logits_rows_max = 256;   // largest R that a step will have
  LoadProgress progress;           // may be null
  // With several ranks: one of them is lost. Called on a rank's thread; does not return. Empty: a
  // CHECK fails.
  std::function<void(const std::string& what)> on_failure;

  absl::Status Validate() const;
};

// What one tensor-parallel rank computes on. Both outlive the runner.
struct RankDevice {
  kernels::Backend* backend = nullptr;
  kernels::Collective* collective = nullptr;  // null: there is one rank only
};

// Reads, checks and packs a model, divided among `ranks`. Errors name the file, the tensor or the
// field.
//
// ModelInfo::fingerprint covers the config's arithmetic, the weights (see each WeightSource's
// ContentHash), their precision and quantization, the KV precision and layout, and the backend's
// name; not the number of tokens in a block, which is the engine's choice, and not the number of
// ranks: they may differ between workers that hand KV to each other.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const LoadOptions& options,
                                                       std::span<const RankDevice> ranks);
// On one device.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const LoadOptions& options,
                                                       kernels::Backend& backend);

// What can be known from a folder without its weights, for those who validate requests: everything
// but kv_dtype and fingerprint. `name` empty: the folder's.
absl::StatusOr<ModelInfo> ReadModelInfo(const std::filesystem::path& model_dir,
                                        std::string_view name = "");

// "models/Qwen3-8B/" -> "Qwen3-8B"
std::string ServedName(const std::filesystem::path& model_dir);

}  // namespace baton::model
