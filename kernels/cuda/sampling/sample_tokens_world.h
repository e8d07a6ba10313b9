#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/cuda/sampling/sample_batch.h"
#include "kernels/cuda/sampling/sample_tokens.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/testing/sampling_fixtures.h"

namespace baton::kernels::cuda::testing {

// Rows of logits with a sample each, and the tokens that the host draws from them.
class SampleWorld {
 public:
  explicit SampleWorld(int32_t vocabulary) : vocabulary_(vocabulary) {}

  void Add(const std::vector<float>& logits, kernels::testing::OwnedArgs sample) {
    sample.args.row = int32_t(samples_.size());
    logits_.insert(logits_.end(), logits.begin(), logits.end());
    samples_.push_back(std::move(sample));
  }
  void AddRandom(kernels::testing::Random& random) {
    kernels::testing::OwnedArgs sample = kernels::testing::RandomArgs(random, vocabulary_);
    sample.args.given = -1;
    sample.args.num_logprobs = -1;
    Add(kernels::testing::RandomLogits(random, vocabulary_), std::move(sample));
  }
  void AddToFirstRow(const SampleArgs& args) { samples_.push_back({.args = args}); }
  // The last row's sample first.
  void Reverse() { std::reverse(samples_.begin(), samples_.end()); }

  int32_t vocabulary() const { return vocabulary_; }
  const SampleArgs& sample(size_t i) const { return samples_[i].args; }

  SampleTokensArgs Args() {
    std::vector<SampleArgs> samples;
    for (kernels::testing::OwnedArgs& sample : samples_) samples.push_back(sample.get());
    const SampleBatch batch = BatchOf(samples, vocabulary_);
    device_logits_.emplace(logits_);
    rows_.emplace(batch.rows);
    biases_.emplace(batch.biases);
    banned_.emplace(batch.banned);
    output_.emplace(batch.output);
    prompt_.emplace(batch.prompt);
    tokens_.emplace(samples.size());
    return {.logits = device_logits_->data(),
            .rows = rows_->data(),
            .biases = biases_->data(),
            .banned = banned_->data(),
            .output = output_->data(),
            .prompt = prompt_->data(),
            .vocabulary = vocabulary_,
            .batch = int32_t(samples.size()),
            .tokens = tokens_->data()};
  }

  std::vector<int32_t> Result() { return tokens_->ToHost(); }

  std::vector<int32_t> Want() {
    std::vector<int32_t> tokens;
    for (kernels::testing::OwnedArgs& sample : samples_) {
      const auto row = logits_.begin() + int64_t{sample.args.row} * vocabulary_;
      std::vector<float> logits(row, row + vocabulary_);
      tokens.push_back(kernels::SampleRow(logits, sample.get()).token);
    }
    return tokens;
  }

 private:
  int32_t vocabulary_;
  std::vector<float> logits_;
  std::vector<kernels::testing::OwnedArgs> samples_;
  std::optional<DeviceArray<float>> device_logits_;
  std::optional<DeviceArray<SampleRow>> rows_;
  std::optional<DeviceArray<TokenBias>> biases_;
  std::optional<DeviceArray<int32_t>> banned_, prompt_, tokens_;
  std::optional<DeviceArray<TokenCount>> output_;
};

}  // namespace baton::kernels::cuda::testing
