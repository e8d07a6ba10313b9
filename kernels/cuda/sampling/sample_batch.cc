#include "kernels/cuda/sampling/sample_batch.h"

#include "kernels/check.h"

namespace baton::kernels::cuda {
namespace {

// Lists that no penalty reads stay empty: less to copy.
void AddLists(const SampleArgs& args, SampleBatch& batch) {
  const bool repeats = args.repetition_penalty != 1;
  for (const auto& [token, bias] : args.logit_bias) batch.biases.push_back({token, bias});
  batch.banned.insert(batch.banned.end(), args.banned.begin(), args.banned.end());
  if (repeats || args.frequency_penalty != 0 || args.presence_penalty != 0) {
    for (const auto& [token, count] : args.output_counts) batch.output.push_back({token, count});
  }
  if (repeats) {
    batch.prompt.insert(batch.prompt.end(), args.prompt_tokens_seen.begin(),
                        args.prompt_tokens_seen.end());
  }
}

SampleRow RowAfter(const SampleBatch& batch) {
  SampleRow row;
  row.biases_begin = uint32_t(batch.biases.size());
  row.banned_begin = uint32_t(batch.banned.size());
  row.output_begin = uint32_t(batch.output.size());
  row.prompt_begin = uint32_t(batch.prompt.size());
  return row;
}

// A token outside would change another row's logits.
void CheckTokens(const SampleBatch& batch, int32_t vocabulary) {
  const auto is_token = [&](int32_t token) { return token >= 0 && token < vocabulary; };
  for (const TokenBias& bias : batch.biases) KERNELS_CHECK(is_token(bias.token));
  for (const int32_t token : batch.banned) KERNELS_CHECK(is_token(token));
  for (const TokenCount& count : batch.output) KERNELS_CHECK(is_token(count.token));
  for (const int32_t token : batch.prompt) KERNELS_CHECK(is_token(token));
}

}  // namespace

bool IsForDevice(const SampleArgs& args) { return args.given < 0 && args.num_logprobs < 0; }

SampleBatch BatchOf(std::span<const SampleArgs> samples, int32_t vocabulary) {
  SampleBatch batch;
  for (const SampleArgs& args : samples) {
    KERNELS_CHECK(IsForDevice(args));
    SampleRow row = RowAfter(batch);
    row.row = args.row;
    row.top_k = args.top_k;
    row.temperature = args.temperature;
    row.top_p = args.top_p;
    row.min_p = args.min_p;
    row.repetition_penalty = args.repetition_penalty;
    row.presence_penalty = args.presence_penalty;
    row.frequency_penalty = args.frequency_penalty;
    row.seed = args.seed;
    row.draw = args.draw;
    batch.rows.push_back(row);
    AddLists(args, batch);
  }
  batch.rows.push_back(RowAfter(batch));
  CheckTokens(batch, vocabulary);
  return batch;
}

}  // namespace baton::kernels::cuda
