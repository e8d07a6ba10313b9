#include "bench/quality/logit_error.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <numeric>
#include <utility>

#include "common/text/tokenizer.h"
#include "fmt/format.h"

namespace baton::bench {
namespace {

constexpr int32_t kBlockTokens = 16, kStepTokens = 128;

absl::StatusOr<std::vector<int32_t>> ReadTokens(const QualityOptions& options) {
  std::ifstream file(options.text, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.empty()) return NotFound("{}: nothing to read", options.text);
  ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Load(options.model));
  return tokenizer->Encode(text, false);
}

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

}  // namespace

absl::StatusOr<QualityOptions> ParseQualityOptions(int argc, char** argv) {
  QualityOptions options;
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

absl::StatusOr<std::unique_ptr<Subject>> Subject::Load(const QualityOptions& options,
                                                       model::LoadOptions load) {
  std::unique_ptr<Subject> subject(new Subject);
  subject->backend_ =
      options.reference ? kernels::MakeReferenceBackend() : kernels::MakeCpuBackend({});
  load.model_dir = options.model;
  load.step_tokens_max = load.logits_rows_max = kStepTokens;
  ASSIGN_OR_RETURN(subject->runner_, model::LoadModel(load, *subject->backend_));
  const int32_t blocks = (options.context + kBlockTokens - 1) / kBlockTokens;
  subject->table_.resize(size_t(blocks));
  std::iota(subject->table_.begin(), subject->table_.end(), 0);
  kernels::KvView kv = subject->runner_->KvGeometry(blocks, kBlockTokens);
  subject->pool_ = subject->backend_->Allocate(kv.pool_bytes());
  kv.base = subject->pool_->data();
  subject->runner_->BindKv(kv);
  subject->kv_token_bytes_ = kv.block_bytes() / kBlockTokens;
  return subject;
}

std::vector<float> Subject::Logits(std::span<const int32_t> tokens) {
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

absl::StatusOr<Yardstick> Yardstick::Load(const QualityOptions& options,
                                          const model::LoadOptions& exact) {
  Yardstick yardstick;
  yardstick.context_ = options.context;
  ASSIGN_OR_RETURN(yardstick.tokens_, ReadTokens(options));
  ASSIGN_OR_RETURN(yardstick.exact_, Subject::Load(options, exact));
  return yardstick;
}

LogitError Yardstick::Measure(Subject& subject) {
  Sums sums;
  const size_t vocab = size_t(subject.info().vocab);
  for (size_t begin = 0; begin + 1 < tokens_.size(); begin += size_t(context_)) {
    const auto window =
        std::span(tokens_).subspan(begin, std::min(size_t(context_), tokens_.size() - begin));
    const std::vector<float> got = subject.Logits(window), want = exact_->Logits(window);
    for (size_t i = 0; i < window.size(); ++i) {
      const auto row = std::span(got).subspan(i * vocab, vocab);
      Compare(row, std::span(want).subspan(i * vocab, vocab), sums);
      if (i + 1 == window.size()) continue;
      sums.negative_log += LogSumExp(row) - row[size_t(window[i + 1])];
      ++sums.scored;
    }
  }
  const double positions = double(sums.positions);
  return {.rms = std::sqrt(sums.squares / positions),
          .worst = sums.worst,
          .same = double(sums.same) / positions,
          .perplexity = std::exp(sums.negative_log / double(sums.scored))};
}

std::string TextOf(const LogitError& error) {
  return fmt::format("| {:.2e} | {:.2e} | {:.2f} % | {:.4f} |", error.rms, error.worst,
                     100 * error.same, error.perplexity);
}

int ExitCode(const char* program, const absl::Status& status) {
  if (status.ok()) return 0;
  fmt::print(stderr, "{}: {}\n", program, MessageOf(status));
  return 1;
}

}  // namespace baton::bench
