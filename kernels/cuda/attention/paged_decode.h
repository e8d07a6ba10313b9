#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/kv_view.h"

namespace baton::kernels::cuda {

// Attention of one new token per sequence over the paged cache. Pointers are device memory.
struct PagedDecodeArgs {
  const float* q = nullptr;  // [B, Hq, D]
  KvView kv;                 // D 64, 96, 128 or 256
  int32_t layer = 0;
  const int32_t* context_tokens = nullptr;  // [B], including the new token; 0: no sequence, out = 0
  const int32_t* block_tables = nullptr;    // [B, blocks_max]
  int32_t blocks_max = 0;
  int32_t context_tokens_max = 0;  // no row's context is longer: sizes grid and workspace
  int32_t batch = 0;               // B
  int32_t num_q_heads = 0;         // Hq, a multiple of kv.num_kv_heads
  float scale = 1;
  int32_t window = 0;  // 0: the whole context, else its last `window` tokens
  DType out_dtype = DType::kF32;
  void* out = nullptr;         // [B, Hq, D] of out_dtype, f32 or bf16
  float* workspace = nullptr;  // PagedDecodeWorkspaceBytes; may be null when that is 0
};

// A sequence's cache is cut into splits of this many tokens at absolute positions, whatever else is
// in the batch: a row's bits depend on its own sequence only. Long enough that merging the splits
// costs about a hundredth of reading the cache, short enough to fill a GPU with one long sequence.
constexpr int32_t kDecodeSplitTokens = 512;

struct PagedDecodePlan {
  int32_t heads_per_block = 1;  // query heads of one KV head that share its loads: 1, 2, 4 or 8
  int32_t head_groups = 1;      // how many blocks a KV head's query heads need
  int32_t splits_max = 1;       // per sequence
  LaunchShape split;
  LaunchShape merge;  // launched when splits_max > 1
};

Error Check(const PagedDecodeArgs& args);
PagedDecodePlan Choose(const PagedDecodeArgs& args, const DeviceTraits& device);
size_t PagedDecodeWorkspaceBytes(const PagedDecodeArgs& args);
Error Launch(const PagedDecodeArgs& args, const PagedDecodePlan& plan, Stream stream);

}  // namespace baton::kernels::cuda
