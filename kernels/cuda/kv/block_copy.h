#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/kv_view.h"

namespace baton::kernels::cuda {

// Between blocks of a KV pool and one contiguous piece of device memory:
//
//   staging [layer][block][K|V][kv_head][token][head_dim]
//
// over the given layers, the listed blocks and a range of KV heads. With all heads it stages blocks
// for a transfer or a swap; with some, it cuts out or fills in a tensor-parallel shard, so two
// workers of different degree exchange KV by a gather here and a scatter there.
struct KvBlockCopyArgs {
  enum class Direction : uint8_t { kGather, kScatter };
  Direction direction = Direction::kGather;
  KvView kv;
  int32_t first_layer = 0;
  int32_t num_layers = 0;
  const int32_t* blocks = nullptr;  // device, [num_blocks], each a block of the pool, no two alike
  int32_t num_blocks = 0;
  int32_t first_head = 0;
  int32_t num_heads = 0;
  std::byte* staging = nullptr;  // device, KvStagingBytes, a multiple of 16
};

size_t KvStagingBytes(const KvBlockCopyArgs& args);

Error Check(const KvBlockCopyArgs& args);
LaunchShape Choose(const KvBlockCopyArgs& args, const DeviceTraits& device);
Error Launch(const KvBlockCopyArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
