#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "baton/v1/kv_transfer.pb.h"
#include "baton/v1/worker.pb.h"
#include "common/base/status.h"
#include "common/handover/reshard.h"
#include "common/transfer/transport.h"
#include "kernels/kv_shares.h"

namespace baton::handover {

// Where the blocks of one prompt go: memory of another process.
struct Destination {
  transfer::PeerAddress peer;
  std::string remote_key;
  uint64_t base_address = 0;
  int32_t num_layers = 0;
  int32_t num_blocks = 0;          // of the destination's pool
  uint64_t block_layer_bytes = 0;  // in one rank's share
  std::vector<KvPiece> pieces;     // of one layer of one block, from our ranks' shares to theirs
  int32_t first_block = 0;         // index in the prompt of blocks[0]
  std::vector<int32_t> blocks;

  // Address of one layer of the prompt's block `index` (>= first_block) in a rank's share.
  uint64_t AddressOf(int32_t rank, int32_t layer, int32_t index) const {
    const uint64_t block = static_cast<uint64_t>(blocks[index - first_block]);
    const uint64_t in_share = uint64_t(layer) * num_blocks + block;
    const uint64_t share = uint64_t(rank) * num_layers * num_blocks;
    return base_address + (share + in_share) * block_layer_bytes;
  }
};

// FAILED_PRECONDITION when the caller's pool differs in shape from ours (both numbers; into how
// many ranks it is divided may differ), INVALID_ARGUMENT when the block list does not cover the
// prompt or names blocks outside the pool.
absl::StatusOr<Destination> ReadDestination(const v1::PrefillRequest& request,
                                            const kernels::KvShares& ours);

transfer::PeerAddress FromProto(const v1::TransferAddress& proto);
v1::TransferAddress ToProto(const transfer::PeerAddress& address);

// How peers are told of a pool in `region`.
v1::KvRegion DescribeRegion(const transfer::Region& region, const transfer::PeerAddress& owner,
                            const kernels::KvShares& pool);

}  // namespace baton::handover
