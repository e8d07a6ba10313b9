#include <algorithm>

#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/attention/paged_plain.h"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/backend/cuda_backend.h"

// Which of the attention kernels serves which part of a batch:
//
//   one new token          paged_decode   head_dim 64, 96, 128, 256; not when deterministic
//   prompts, and chunks    paged_prefill  the same head_dims, any pool but of f32
//   all else               paged_plain
namespace baton::kernels::cuda {
namespace {

bool IsForTiles(int32_t head_dim) {
  return head_dim == 64 || head_dim == 96 || head_dim == 128 || head_dim == 256;
}

}  // namespace

void CudaBackend::Attention(const float* q, const KvView& kv, int32_t layer, int32_t num_q_heads,
                            std::span<const AttentionSequence> sequences, float scale,
                            int32_t window, DType out_dtype, void* out) {
  const AttentionCall call = {q,     kv,     layer,     num_q_heads,
                              scale, window, out_dtype, static_cast<std::byte*>(out)};
  const bool may_decode = !options_.deterministic && IsForTiles(kv.head_dim);
  for (const AttentionRun& run : RunsOf(sequences, may_decode)) {
    const auto part = sequences.subspan(run.first, run.count);
    run.is_decode ? Decode(call, part) : Attend(call, part);
  }
}

size_t CudaBackend::DecodesAtOnce(const AttentionCall& call, int32_t context_tokens_max) const {
  const PagedDecodeArgs one = {.kv = call.kv,
                               .context_tokens_max = context_tokens_max,
                               .batch = 1,
                               .num_q_heads = call.num_q_heads,
                               .window = call.window};
  const size_t each = PagedDecodeWorkspaceBytes(one);
  return each == 0 ? SIZE_MAX : workspace_->size() / each;
}

void CudaBackend::Decode(const AttentionCall& call, std::span<const AttentionSequence> sequences) {
  int32_t longest = 0;
  for (const AttentionSequence& s : sequences) longest = std::max(longest, s.context_tokens);
  const size_t at_once = DecodesAtOnce(call, ReachOf(longest));
  if (at_once == 0) {
    Expect("a context of " + std::to_string(longest) +
           " tokens needs a larger workspace_bytes than " + std::to_string(workspace_->size()));
  }
  const size_t row = size_t(call.num_q_heads) * size_t(call.kv.head_dim);
  while (!sequences.empty()) {
    const auto part = sequences.first(std::min(at_once, sequences.size()));
    sequences = sequences.subspan(part.size());
    const AttentionBatch batch = BatchOf(part, call.kv.block_tokens);
    const size_t first_row = size_t(part.front().query_begin) * row;
    Launch(PagedDecodeArgs{.q = call.q + first_row,
                           .kv = call.kv,
                           .layer = call.layer,
                           .context_tokens = Upload(batch.context_tokens),
                           .block_tables = Upload(batch.block_tables),
                           .blocks_max = batch.blocks_max,
                           .context_tokens_max = batch.context_tokens_max,
                           .batch = int32_t(part.size()),
                           .num_q_heads = call.num_q_heads,
                           .scale = call.scale,
                           .window = call.window,
                           .out_dtype = call.out_dtype,
                           .out = call.out + first_row * BytesOf(call.out_dtype),
                           .workspace = workspace_->as<float>()});
  }
}

void CudaBackend::Attend(const AttentionCall& call, std::span<const AttentionSequence> sequences) {
  const AttentionBatch all = BatchOf(sequences, call.kv.block_tokens);
  const PagedPrefillArgs args = {.q = call.q,
                                 .kv = call.kv,
                                 .layer = call.layer,
                                 .query_begin = Upload(all.query_begin),
                                 .query_tokens = Upload(all.query_tokens),
                                 .context_tokens = Upload(all.context_tokens),
                                 .block_tables = Upload(all.block_tables),
                                 .blocks_max = all.blocks_max,
                                 .query_tokens_max = all.query_tokens_max,
                                 .batch = int32_t(sequences.size()),
                                 .num_q_heads = call.num_q_heads,
                                 .scale = call.scale,
                                 .window = call.window,
                                 .out_dtype = call.out_dtype,
                                 .out = call.out};
  if (call.kv.dtype != DType::kF32 && IsForTiles(call.kv.head_dim)) {
    Launch(args);
  } else {
    Launch(PagedPlainArgs{args});
  }
}

}  // namespace baton::kernels::cuda
