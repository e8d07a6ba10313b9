#include "common/handover/destination.h"

#include <algorithm>

namespace baton::handover {
namespace {

constexpr int32_t kRanksMax = 64;

absl::Status CheckSame(std::string_view what, uint64_t theirs, uint64_t ours) {
  if (theirs == ours) return absl::OkStatus();
  return FailedPrecondition("destination.{} is {}, but this prefill worker's is {}", what, theirs,
                            ours);
}

// How the caller's pool is divided. A caller that says nothing of ranks has one.
absl::StatusOr<KvLayout> ReadLayout(const v1::KvRegion& region, const KvLayout& ours) {
  KvLayout theirs = ours;
  theirs.num_ranks = std::max(region.tensor_parallel_size(), 1);
  if (region.num_kv_heads() != 0) {
    RETURN_IF_ERROR(CheckSame("num_kv_heads", region.num_kv_heads(), ours.num_kv_heads));
  }
  if (theirs.num_ranks > kRanksMax ||
      !kernels::CanDealKvHeads(theirs.num_kv_heads, theirs.num_ranks)) {
    return FailedPrecondition(
        "destination.tensor_parallel_size is {}, which {} KV heads cannot be dealt out to",
        theirs.num_ranks, theirs.num_kv_heads);
  }
  const int32_t heads = kernels::KvHeadsOf(theirs.num_kv_heads, 0, theirs.num_ranks).count;
  RETURN_IF_ERROR(
      CheckSame("block_layer_bytes", region.block_layer_bytes(), 2 * heads * ours.head_bytes));
  return theirs;
}

absl::Status CheckBlocks(const v1::PrefillRequest& request, int32_t block_tokens) {
  const int64_t prompt_blocks =
      (int64_t(request.sequence().prompt_size()) + block_tokens - 1) / block_tokens;
  if (request.first_block() < 0 || request.blocks_size() == 0 ||
      request.first_block() + int64_t(request.blocks_size()) != prompt_blocks) {
    return InvalidArgument("first_block {} and {} blocks do not cover a prompt of {} blocks",
                           request.first_block(), request.blocks_size(), prompt_blocks);
  }
  for (int32_t block : request.blocks()) {
    if (block < 0 || block >= request.destination().num_blocks()) {
      return InvalidArgument("blocks names block {} of a pool of {}", block,
                             request.destination().num_blocks());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Destination> ReadDestination(const v1::PrefillRequest& request,
                                            const kernels::KvShares& ours) {
  const v1::KvRegion& region = request.destination();
  RETURN_IF_ERROR(CheckSame("num_layers", region.num_layers(), ours.num_layers()));
  RETURN_IF_ERROR(CheckSame("block_tokens", region.block_tokens(), ours.block_tokens()));
  ASSIGN_OR_RETURN(const KvLayout theirs, ReadLayout(region, LayoutOf(ours)));
  RETURN_IF_ERROR(CheckBlocks(request, ours.block_tokens()));
  return Destination{.peer = FromProto(region.address()),
                     .remote_key = region.remote_key(),
                     .base_address = region.base_address(),
                     .num_layers = region.num_layers(),
                     .num_blocks = region.num_blocks(),
                     .block_layer_bytes = region.block_layer_bytes(),
                     .pieces = PlanReshard(LayoutOf(ours), theirs),
                     .first_block = request.first_block(),
                     .blocks = {request.blocks().begin(), request.blocks().end()}};
}

transfer::PeerAddress FromProto(const v1::TransferAddress& proto) {
  return {.transport = proto.transport(),
          .worker = proto.worker(),
          .host_id = proto.host_id(),
          .process_id = proto.process_id(),
          .process_start = proto.process_start()};
}

v1::TransferAddress ToProto(const transfer::PeerAddress& address) {
  v1::TransferAddress proto;
  proto.set_transport(address.transport);
  proto.set_worker(address.worker);
  proto.set_host_id(address.host_id);
  proto.set_process_id(address.process_id);
  proto.set_process_start(address.process_start);
  return proto;
}

v1::KvRegion DescribeRegion(const transfer::Region& region, const transfer::PeerAddress& owner,
                            const kernels::KvShares& pool) {
  v1::KvRegion proto;
  *proto.mutable_address() = ToProto(owner);
  proto.set_remote_key(region.remote_key);
  proto.set_base_address(region.address);
  proto.set_num_layers(pool.num_layers());
  proto.set_num_blocks(pool.num_blocks());
  proto.set_block_tokens(pool.block_tokens());
  proto.set_block_layer_bytes(pool.first.block_layer_bytes());
  proto.set_tensor_parallel_size(pool.num_ranks);
  proto.set_num_kv_heads(pool.num_kv_heads);
  return proto;
}

}  // namespace baton::handover
