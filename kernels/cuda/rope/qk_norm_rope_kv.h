#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/kv_view.h"

namespace baton::kernels::cuda {

// Normalises (where asked) and rotates q and k, writes q and puts k and v into their slots of the
// cache, rounded to its dtype: Backend::RopeAndWriteKv in one pass over qkv.
struct QkNormRopeKvArgs {
  QkvArgs qkv;  // here `positions` and `slots` are device memory too
  KvView kv;    // f32 or bf16
  int32_t layer = 0;
  float* q_out = nullptr;  // [T, Hq, D]
};

// A slot below 0 is none: K and V of that token are not written (rows that fill up a CUDA graph's
// batch).
Error Check(const QkNormRopeKvArgs& args);
LaunchShape Choose(const QkNormRopeKvArgs& args, const DeviceTraits& device);
Error Launch(const QkNormRopeKvArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
