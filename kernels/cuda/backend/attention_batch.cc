#include "kernels/cuda/backend/attention_batch.h"

#include <algorithm>

#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/backend/bucket.h"

namespace baton::kernels::cuda {

std::vector<AttentionRun> RunsOf(std::span<const AttentionSequence> sequences, bool may_decode) {
  std::vector<AttentionRun> runs;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const bool is_decode = may_decode && sequences[i].query_tokens == 1;
    bool joins = !runs.empty() && runs.back().is_decode == is_decode;
    if (joins && is_decode) joins = sequences[i].query_begin == sequences[i - 1].query_begin + 1;
    if (!joins) runs.push_back({i, 0, is_decode});
    ++runs.back().count;
  }
  return runs;
}

int32_t ReachOf(int32_t context_tokens) {
  return BucketOf((context_tokens + kDecodeSplitTokens - 1) / kDecodeSplitTokens) *
         kDecodeSplitTokens;
}

AttentionBatch BatchOf(std::span<const AttentionSequence> sequences, int32_t block_tokens) {
  const auto blocks_of = [&](const AttentionSequence& s) {
    return (s.context_tokens + block_tokens - 1) / block_tokens;
  };
  AttentionBatch batch;
  for (const AttentionSequence& s : sequences) {
    batch.query_begin.push_back(s.query_begin);
    batch.query_tokens.push_back(s.query_tokens);
    batch.context_tokens.push_back(s.context_tokens);
    batch.query_tokens_max = std::max(batch.query_tokens_max, s.query_tokens);
    batch.context_tokens_max = std::max(batch.context_tokens_max, s.context_tokens);
  }
  batch.context_tokens_max = ReachOf(batch.context_tokens_max);
  batch.blocks_max = batch.context_tokens_max / block_tokens;
  batch.block_tables.assign(sequences.size() * size_t(batch.blocks_max), -1);
  for (size_t i = 0; i < sequences.size(); ++i) {
    std::copy_n(sequences[i].block_table, blocks_of(sequences[i]),
                batch.block_tables.begin() + ptrdiff_t(i * size_t(batch.blocks_max)));
  }
  return batch;
}

}  // namespace baton::kernels::cuda
