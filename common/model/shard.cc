#include "common/model/shard.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "kernels/kv_heads.h"
#include "kernels/kv_view.h"

namespace baton::model {
namespace {

bool Divides(const HfConfig& config, int32_t size) {
  return config.num_q_heads % size == 0 && config.intermediate % size == 0 &&
         kernels::CanDealKvHeads(config.num_kv_heads, size);
}

// "1, 2 or 4": every size that would do.
std::string SizesThatWouldDo(const HfConfig& config) {
  std::vector<int32_t> sizes;
  for (int32_t size = 1; size <= config.num_q_heads; ++size) {
    if (Divides(config, size)) sizes.push_back(size);
  }
  const int32_t last = sizes.back();
  sizes.pop_back();
  return sizes.empty() ? fmt::format("{}", last)
                       : fmt::format("{} or {}", fmt::join(sizes, ", "), last);
}

Slice Part(int32_t whole, const Shard& shard) {
  const int32_t each = whole / shard.size;
  return {shard.rank * each, each};
}

}  // namespace

absl::Status CheckTensorParallel(const HfConfig& config, int32_t size) {
  if (size >= 1 && Divides(config, size)) return absl::OkStatus();
  const auto refuse = [&](std::string_view field, int32_t value, std::string_view relation) {
    return InvalidArgument(
        "tensor_parallel_size is {}, but config.json's {} is {}, {}; this model can be divided by "
        "{}",
        size, field, value, relation, SizesThatWouldDo(config));
  };
  if (size < 1) return InvalidArgument("tensor_parallel_size is {}, at least 1", size);
  if (size > config.num_q_heads) {
    return refuse("num_attention_heads", config.num_q_heads, "fewer than that");
  }
  if (config.num_q_heads % size != 0) {
    return refuse("num_attention_heads", config.num_q_heads, "not a multiple of it");
  }
  if (!kernels::CanDealKvHeads(config.num_kv_heads, size)) {
    return refuse("num_key_value_heads", config.num_kv_heads,
                  "neither a multiple of it nor a divisor");
  }
  return refuse("intermediate_size", config.intermediate, "not a multiple of it");
}

Shard ShardOf(const HfConfig& config, int32_t rank, int32_t size) {
  CHECK(rank >= 0 && rank < size && Divides(config, size), "rank {} of {}", rank, size);
  Shard shard{.rank = rank, .size = size};
  const kernels::KvHeads kv = kernels::KvHeadsOf(config.num_kv_heads, rank, size);
  shard.q_heads = Part(config.num_q_heads, shard);
  shard.kv_heads = {kv.first, kv.count};
  shard.intermediate = Part(config.intermediate, shard);
  // Logits are put together in pieces of 16 bytes.
  shard.vocab_parallel = size > 1 && config.vocab % (4 * size) == 0;
  shard.vocab = shard.vocab_parallel ? Part(config.vocab, shard) : Slice{0, config.vocab};
  return shard;
}

int64_t NumParameters(const HfConfig& config, const Shard& shard) {
  HfConfig own = config;
  own.num_q_heads = shard.q_heads.count;
  own.num_kv_heads = shard.kv_heads.count;
  own.intermediate = shard.intermediate.count;
  own.tied_embeddings = true;  // the head is counted apart
  const int64_t head = shard.has_own_head(config) ? int64_t{shard.vocab.count} * config.hidden : 0;
  return own.num_parameters() + head;
}

int64_t KvBlockBytes(const HfConfig& config, int32_t num_ranks, kernels::DType kv_dtype,
                     int32_t block_tokens) {
  const kernels::KvView pool{.dtype = kv_dtype,
                             .num_layers = config.num_layers,
                             .block_tokens = block_tokens,
                             .num_kv_heads = std::max(config.num_kv_heads, num_ranks),
                             .head_dim = config.head_dim};
  return int64_t(pool.block_bytes());
}

}  // namespace baton::model
