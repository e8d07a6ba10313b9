#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/base/strong_id.h"
#include "common/engine/swap_store.h"
#include "kernels/backend.h"
#include "kernels/kv_view.h"

namespace baton::engine {

// Where the KV pool lies on a device that peers cannot write to: host memory of the same layout
// that they write to instead, and that hand-overs are sent from. Blocks are copied when they leave
// and when they have arrived; between those two moments the mirror's bytes mean nothing.
//
// Engine thread only. Copies are done when a call returns.
class KvMirror {
 public:
  // One tensor-parallel rank's pool on its device, and its share of the host's memory.
  struct Rank {
    kernels::Backend* backend = nullptr;
    kernels::KvView device;
    kernels::KvView host;
  };

  // No memory is owned; all of it, and the backends, outlive the mirror.
  explicit KvMirror(std::vector<Rank> ranks);
  // Of a pool on one device.
  KvMirror(kernels::Backend& backend, const kernels::KvView& device, const kernels::KvView& host)
      : KvMirror({{&backend, device, host}}) {}

  // One layer of these blocks, about to be sent.
  void ToHost(int32_t layer, std::span<const BlockId> blocks);
  // All layers of these blocks, about to be read by a step.
  void ToDevice(std::span<const BlockId> blocks);

 private:
  const std::vector<Rank> ranks_;
};

// A swap store for a pool on a device. The slots' memory is reserved and pinned at once.
std::unique_ptr<SwapStore> MakeDeviceSwapStore(kernels::Backend& backend, const kernels::KvView& kv,
                                               int32_t num_slots);

}  // namespace baton::engine
