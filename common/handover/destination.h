#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/v1/kv_transfer.pb.h"
#include "baton/v1/worker.pb.h"
#include "common/base/status.h"
#include "common/transfer/transport.h"
#include "kernels/kv_view.h"

namespace baton::handover {

// Where the blocks of one prompt go: memory of another process.
struct Destination {
  transfer::PeerAddress peer;
  std::string remote_key;
  uint64_t base_address = 0;
  int32_t num_blocks = 0;  // of the destination's pool
  uint64_t block_layer_bytes = 0;
  int32_t first_block = 0;  // index in the prompt of blocks[0]
  std::vector<int32_t> blocks;

  // Address of one layer of the prompt's block `index` (>= first_block).
  uint64_t AddressOf(int32_t layer, int32_t index) const {
    const uint64_t block = static_cast<uint64_t>(blocks[index - first_block]);
    return base_address + (uint64_t(layer) * num_blocks + block) * block_layer_bytes;
  }
};

// FAILED_PRECONDITION when the caller's pool differs in shape from ours (both numbers),
// INVALID_ARGUMENT when the block list does not cover the prompt or names blocks outside the pool.
absl::StatusOr<Destination> ReadDestination(const v1::PrefillRequest& request,
                                            const kernels::KvView& ours);

transfer::PeerAddress FromProto(const v1::TransferAddress& proto);
v1::TransferAddress ToProto(const transfer::PeerAddress& address);

// How peers are told of a pool in `region`.
v1::KvRegion DescribeRegion(const transfer::Region& region, const transfer::PeerAddress& owner,
                            const kernels::KvView& pool);

}  // namespace baton::handover
