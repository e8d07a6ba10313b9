#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace baton::kernels::cuda {

// Neighbours in a ragged batch that one launch serves.
struct AttentionRun {
  size_t first = 0;  // sequence
  size_t count = 0;
  bool is_decode = false;  // one new token each, in rows that follow one another
};

// Cuts the batch, in its order. `may_decode` false: one run for all.
std::vector<AttentionRun> RunsOf(std::span<const AttentionSequence> sequences, bool may_decode);

// The arrays that attention kernels are given, of one run.
struct AttentionBatch {
  std::vector<int32_t> query_begin;     // [B]
  std::vector<int32_t> query_tokens;    // [B]
  std::vector<int32_t> context_tokens;  // [B]
  std::vector<int32_t> block_tables;    // [B][blocks_max], -1 past a sequence's end
  int32_t blocks_max = 0;
  int32_t query_tokens_max = 0;
  int32_t context_tokens_max = 0;
};

// What launches are told instead of the longest context of a batch: some of decode's splits, of few
// different numbers (BucketOf). So the steps of a batch differ in nothing but what is uploaded,
// until one of its contexts grows beyond the next; splits that hold nothing end at once.
int32_t ReachOf(int32_t context_tokens);

AttentionBatch BatchOf(std::span<const AttentionSequence> sequences, int32_t block_tokens);

}  // namespace baton::kernels::cuda
