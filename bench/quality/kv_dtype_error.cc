// What a type of the KV cache costs in precision: the same model and text with KV in f32 and in
// every other type, logits compared at every position.
//
//   kv_dtype_error --model FOLDER --text FILE [--dtype f32|bf16] [--context N] [--reference]
//
// The text is cut into windows of N tokens, each a sequence of its own. Prints, per type: bytes of
// KV a token; the distance of logits over the length of f32's, root mean square and worst position;
// how often both have the same likeliest token; perplexity.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/model/load_model.h"
#include "common/text/tokenizer.h"
#include "fmt/format.h"
#include "kernels/backend.h"

namespace baton::bench {
namespace {

using kernels::DType;

constexpr int32_t kBlockTokens = 16, kStepTokens = 128;

struct Options {
  std::string model, text;
  model::WeightDType dtype = model::WeightDType::kAuto;
  int32_t context = 512;
  bool reference = false;  // plain loops instead of the CPU's own kernels
};

absl::StatusOr<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--reference") {
      options.reference = true;
      continue;
    }
    if (i + 1 == argc) return InvalidArgument("{} has no value", flag);
    const std::string value = argv[++i];
    if (flag == "--model") {
      options.model = value;
    } else if (flag == "--text") {
      options.text = value;
    } else if (flag == "--dtype") {
      ASSIGN_OR_RETURN(options.dtype, model::ParseWeightDType(value));
    } else if (flag == "--context") {
      options.context = std::atoi(value.c_str());
    } else {
      return InvalidArgument("{}: expected --model, --text, --dtype, --context, --reference", flag);
    }
  }
  if (options.model.empty() || options.text.empty() || options.context < 2) {
    return InvalidArgument("--model and --text are needed, --context is at least 2");
  }
  return options;
}

absl::StatusOr<std::vector<int32_t>> ReadTokens(const Options& options) {
  std::ifstream file(options.text, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.empty()) return NotFound("{}: nothing to read", options.text);
  ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Load(options.model));
  return tokenizer->Encode(text, false);
}

// One model with one type of KV.
class Subject {
 public:
  static absl::StatusOr<std::unique_ptr<Subject>> Load(const Options& options, DType kv_dtype) {
    std::unique_ptr<Subject> subject(new Subject);
    subject->backend_ =
        options.reference ? kernels::MakeReferenceBackend() : kernels::MakeCpuBackend({});
    model::LoadOptions load;
    load.model_dir = options.model;
    load.dtype = options.dtype;
    load.kv_dtype = kv_dtype;
    load.step_tokens_max = load.logits_rows_max = kStepTokens;
    ASSIGN_OR_RETURN(subject->runner_, model::LoadModel(load, *subject->backend_));
    const int32_t blocks = (options.context + kBlockTokens - 1) / kBlockTokens;
    subject->table_.resize(size_t(blocks));
    std::iota(subject->table_.begin(), subject->table_.end(), 0);
    kernels::KvView kv = subject->runner_->KvGeometry(blocks, kBlockTokens);
    subject->pool_ = subject->backend_->Allocate(kv.pool_bytes());
    kv.base = subject->pool_->data();
    subject->runner_->BindKv(kv);
    subject->token_bytes_ = kv.block_bytes() / kBlockTokens;
    return subject;
  }

  size_t token_bytes() const { return token_bytes_; }
  size_t vocab() const { return size_t(runner_->info().vocab); }

  // [tokens][vocab], of a sequence of its own.
  std::vector<float> Logits(std::span<const int32_t> tokens) {
    std::vector<float> all;
    for (size_t begin = 0; begin < tokens.size(); begin += kStepTokens) {
      const size_t count = std::min<size_t>(kStepTokens, tokens.size() - begin);
      model::StepBatch batch;
      batch.tokens.assign(tokens.begin() + long(begin), tokens.begin() + long(begin + count));
      batch.sequences.push_back({int32_t(count), int32_t(begin + count), table_});
      batch.logits_rows.resize(count);
      std::iota(batch.logits_rows.begin(), batch.logits_rows.end(), 0);
      runner_->Execute(batch);
      const std::span<const float> rows = runner_->last_logits();
      all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
  }

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<kernels::Buffer> pool_;
  std::vector<int32_t> table_;
  size_t token_bytes_ = 0;
};

struct Sums {
  double squares = 0, worst = 0, negative_log = 0;
  int64_t positions = 0, same = 0, scored = 0;
};

double LogSumExp(std::span<const float> row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float x : row) sum += std::exp(double(x) - largest);
  return largest + std::log(sum);
}

void Compare(std::span<const float> got, std::span<const float> want, Sums& sums) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
    norm += double(want[i]) * want[i];
  }
  sums.squares += difference / norm;
  sums.worst = std::max(sums.worst, std::sqrt(difference / norm));
  const auto likeliest = [](std::span<const float> row) {
    return std::max_element(row.begin(), row.end()) - row.begin();
  };
  sums.same += likeliest(got) == likeliest(want);
  ++sums.positions;
}

void Measure(Subject& subject, Subject& measure, std::span<const int32_t> tokens, size_t context,
             Sums& sums) {
  const size_t vocab = subject.vocab();
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += context) {
    const auto window = tokens.subspan(begin, std::min(context, tokens.size() - begin));
    const std::vector<float> got = subject.Logits(window), want = measure.Logits(window);
    for (size_t i = 0; i < window.size(); ++i) {
      const auto row = std::span(got).subspan(i * vocab, vocab);
      Compare(row, std::span(want).subspan(i * vocab, vocab), sums);
      if (i + 1 == window.size()) continue;
      sums.negative_log += LogSumExp(row) - row[size_t(window[i + 1])];
      ++sums.scored;
    }
  }
}

absl::Status Run(const Options& options) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, ReadTokens(options));
  ASSIGN_OR_RETURN(const auto measure, Subject::Load(options, DType::kF32));
  fmt::print("{} tokens of {} in windows of {}\n\n", tokens.size(), options.text, options.context);
  fmt::print(
      "| KV | bytes a token | logit error, RMS | worst position | same token | perplexity |\n"
      "| --- | --- | --- | --- | --- | --- |\n");
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kFp8, DType::kInt8}) {
    ASSIGN_OR_RETURN(const auto subject, Subject::Load(options, dtype));
    Sums sums;
    Measure(*subject, *measure, tokens, size_t(options.context), sums);
    const double positions = double(sums.positions);
    fmt::print("| {} | {} | {:.2e} | {:.2e} | {:.2f} % | {:.4f} |\n", NameOf(dtype),
               subject->token_bytes(), std::sqrt(sums.squares / positions), sums.worst,
               100 * double(sums.same) / positions,
               std::exp(sums.negative_log / double(sums.scored)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  const absl::StatusOr<baton::bench::Options> options = baton::bench::Parse(argc, argv);
  const absl::Status status = options.ok() ? baton::bench::Run(*options) : options.status();
  if (status.ok()) return 0;
  fmt::print(stderr, "kv_dtype_error: {}\n", baton::MessageOf(status));
  return 1;
}
