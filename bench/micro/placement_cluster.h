#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "services/router/membership/roster.h"
#include "services/router/placement/policies.h"

namespace baton::router::bench {

inline constexpr int32_t kPromptBlocks = 128;
inline constexpr int32_t kBlockTokens = 16;

// Workers as the router sees them. Half of them decode, half prefill; of a prompt of 128 blocks
// they hold the first few.
class PlacementCluster {
 public:
  explicit PlacementCluster(int num_workers) {
    std::vector<int32_t> tokens(kPromptBlocks * kBlockTokens);
    std::iota(tokens.begin(), tokens.end(), 0);
    prompt_ = kv::HashBlocks(tokens, kBlockTokens, "salt");
    for (int i = 0; i < num_workers; ++i) AddWorker(i, i % 2 == 0);
  }

  Roster& roster() { return roster_; }
  const std::vector<kv::BlockHash>& prompt() const { return prompt_; }
  // As the dispatcher does: one snapshot is filled again and again.
  const PlacementSnapshot& Snapshot() {
    roster_.SnapshotFor("model", prompt_, {}, snapshot_);
    return snapshot_;
  }
  static PlacementRequest Request() {
    return {.id = RequestId("request"), .prompt_tokens = kPromptBlocks * kBlockTokens + 5};
  }

 private:
  void AddWorker(int i, bool decode) {
    const WorkerId id((decode ? "decode-" : "prefill-") + std::to_string(i) + "@4f1c2a7d");
    const auto stay = roster_.Join({.id = id,
                                    .role = decode ? WorkerRole::kDecode : WorkerRole::kPrefill,
                                    .model = "model",
                                    .fingerprint = "0123456789abcdef0123456789abcdef",
                                    .grpc_address = "10.0.0.1:50051",
                                    .metrics_address = "10.0.0.1:9400",
                                    .hash_salt = "salt",
                                    .transfer = std::string(200, 'x'),
                                    .block_tokens = kBlockTokens,
                                    .num_blocks = 10000,
                                    .context_tokens_max = 131072,
                                    .vocab_size = 150000,
                                    .eos_token_ids = {1, 2},
                                    .heartbeat_ms = 1000,
                                    .batch_sequences_max = 64,
                                    .kv_bytes_per_token = 100000,
                                    .step_tokens_max = 2048});
    CHECK_OK(stay.status());
    roster_.SetReachable(id, true);
    WorkerLoad load;
    load.engine.running = i % 40;
    load.engine.waiting_tokens = i * 37 % 5000;
    load.engine.blocks_total = 10000;
    load.engine.blocks_free = 5000;
    load.engine.fit = {.base_ms = 5 + 0.01 * i,
                       .per_prefill_token_ms = 0.02,
                       .per_decode_ms = 0.1,
                       .samples = 100};
    load.kv_bytes = uint64_t{1} << 30;
    load.kv_busy_seconds = 0.1;
    roster_.Report(id, *stay, load);
    engine::KvEvents events{.number = 1};
    for (int32_t b = 0; b < i % 8 * 16; ++b) {
      events.stored.push_back({prompt_[b], b == 0 ? kv::BlockHash() : prompt_[b - 1]});
    }
    (void)roster_.ApplyKvEvents(id, *stay, events);
  }

  ManualClock clock_;
  Roster roster_{{}, clock_};
  std::vector<kv::BlockHash> prompt_;
  PlacementSnapshot snapshot_;
};

}  // namespace baton::router::bench
