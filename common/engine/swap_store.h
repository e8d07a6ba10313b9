#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/base/strong_id.h"
#include "common/engine/step_plan.h"
#include "kernels/kv_view.h"

namespace baton::engine {

// Host memory that preempted sequences' blocks are copied to, and the copying. Where the pool lies
// on a device, its owner implements this with the device's copies. Called on the engine thread
// only.
class SwapStore {
 public:
  virtual ~SwapStore() = default;
  virtual int32_t num_slots() const = 0;   // blocks it can hold
  virtual size_t block_bytes() const = 0;  // all layers of one block
  // Makes the copies in this order; they are done, as later steps see it, when it returns.
  virtual void Copy(std::span<const BlockCopy> copies) = 0;
};

// For a pool in host memory. The slots' memory is reserved at once and touched when first used.
std::unique_ptr<SwapStore> MakeHostSwapStore(const kernels::KvView& kv, int32_t num_slots);

// For a pool that is divided among tensor-parallel ranks: a slot is one slot of each rank's store.
// They have equally many.
std::unique_ptr<SwapStore> JoinSwapStores(std::vector<std::unique_ptr<SwapStore>> ranks);

}  // namespace baton::engine
