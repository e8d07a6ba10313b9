#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/model/load_model.h"
#include "kernels/backend.h"

// How far a cheaper way to compute is from the exact one: the same model over the same text, logits
// compared at every position. The text is cut into windows, each a sequence of its own.
namespace baton::bench {

struct QualityOptions {
  std::string model, text;
  model::WeightDType dtype = model::WeightDType::kAuto;
  int32_t context = 512;   // tokens of a window
  bool reference = false;  // plain loops instead of the CPU's own kernels
};

// --model FOLDER --text FILE [--dtype f32|bf16] [--context N] [--reference]
absl::StatusOr<QualityOptions> ParseQualityOptions(int argc, char** argv);

// One way to compute a model.
class Subject {
 public:
  // `load` says how; the model, and what a step may have, come from `options`.
  static absl::StatusOr<std::unique_ptr<Subject>> Load(const QualityOptions& options,
                                                       model::LoadOptions load);

  size_t kv_token_bytes() const { return kv_token_bytes_; }
  const model::ModelInfo& info() const { return runner_->info(); }
  // [tokens][vocab], of a sequence of its own.
  std::vector<float> Logits(std::span<const int32_t> tokens);

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<kernels::Buffer> pool_;
  std::vector<int32_t> table_;
  size_t kv_token_bytes_ = 0;
};

struct LogitError {
  double rms = 0;    // the distance of logits over the length of the exact ones
  double worst = 0;  // of any position
  double same = 0;   // the part of positions with the same likeliest token
  double perplexity = 0;
};

// Text read for measuring, and the exact model.
class Yardstick {
 public:
  static absl::StatusOr<Yardstick> Load(const QualityOptions& options,
                                        const model::LoadOptions& exact);
  size_t num_tokens() const { return tokens_.size(); }
  LogitError Measure(Subject& subject);

 private:
  int32_t context_ = 0;
  std::vector<int32_t> tokens_;
  std::unique_ptr<Subject> exact_;
};

// "| 4.9e-03 | 1.4e-02 | 100.00 % | 1.0631 |", and what stands above.
std::string TextOf(const LogitError& error);
constexpr std::string_view kLogitErrorColumns =
    "| logit error, RMS | worst position | same token | perplexity |";

// 0, or 1 after a line on stderr.
int ExitCode(const char* program, const absl::Status& status);

}  // namespace baton::bench
