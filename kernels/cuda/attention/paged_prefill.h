#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/kv_view.h"

namespace baton::kernels::cuda {

// Causal attention of a ragged batch of prompts, or chunks of prompts, over the paged cache, on
// tensor cores. Sequence b's query tokens are rows query_begin[b] … of q and the last ones of its
// context. Pointers are device memory.
struct PagedPrefillArgs {
  const float* q = nullptr;  // [T, Hq, D], rounded to bf16 here
  KvView kv;                 // bf16, fp8 or int8; D 64, 96, 128 or 256
  int32_t layer = 0;
  const int32_t* query_begin = nullptr;     // [B]
  const int32_t* query_tokens = nullptr;    // [B]; 0: no sequence, nothing is written
  const int32_t* context_tokens = nullptr;  // [B], including the query tokens
  const int32_t* block_tables = nullptr;    // [B, blocks_max]
  int32_t blocks_max = 0;
  int32_t query_tokens_max = 0;  // no sequence has more: sizes the grid
  int32_t batch = 0;             // B
  int32_t num_q_heads = 0;       // Hq, a multiple of kv.num_kv_heads
  float scale = 1;               // positive
  int32_t window = 0;            // 0: the whole context; else position p sees p - window + 1 … p
  DType out_dtype = DType::kF32;
  void* out = nullptr;  // [T, Hq, D] of out_dtype, f32 or bf16
};

struct PagedPrefillPlan {
  bool on_warpgroups = false;  // pools of bf16
  LaunchShape shape;
};

Error Check(const PagedPrefillArgs& args);
PagedPrefillPlan Choose(const PagedPrefillArgs& args, const DeviceTraits& device);
Error Launch(const PagedPrefillArgs& args, const PagedPrefillPlan& plan, Stream stream);
// paged_prefill_warpgroup.cu's part of it.
Error LaunchOnWarpgroups(const PagedPrefillArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
