#pragma once

#include "kernels/cuda/attention/paged_prefill.h"

namespace baton::kernels::cuda {

// What PagedPrefillArgs says, for every shape of head: head_dim any multiple of 8 up to 256, a pool
// of f32, bf16, fp8 or int8, q not rounded. Plain arithmetic, a warp for each row: for models that
// the tensor core kernels do not cover, not for speed. Rows have the same bits in any batch and any
// chunks.
struct PagedPlainArgs {
  PagedPrefillArgs call;
};

Error Check(const PagedPlainArgs& args);
LaunchShape Choose(const PagedPlainArgs& args, const DeviceTraits& device);
Error Launch(const PagedPlainArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
