#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/strong_id.h"
#include "common/engine/observer.h"

namespace baton::router {

enum class WorkerRole : uint8_t { kPrefill, kDecode };

constexpr std::string_view NameOf(WorkerRole role) {
  return role == WorkerRole::kPrefill ? "prefill" : "decode";
}

// What it computes on, for people.
struct DeviceProfile {
  std::string backend;  // "cpu:avx512_bf16", "cuda:sm90:warpgroups"; empty: it did not say
  std::string name;     // "NVIDIA H200"
  std::string_view kv_access;
};

// What a worker said of itself when it registered. Constant for the life of its process.
struct WorkerProfile {
  WorkerId id;
  WorkerRole role = WorkerRole::kDecode;
  std::string model;        // served name
  std::string fingerprint;  // only equal ones are paired
  // Only equal ones go on with each other's sequences: they would say the same.
  std::string token_fingerprint;
  std::string grpc_address;     // host:port
  std::string metrics_address;  // host:port; empty: none
  std::string hash_salt;        // of its block hashes
  std::string transfer;  // a serialized v1::TransferAddress, passed on to decode workers unread
  int32_t block_tokens = 16;
  int32_t num_blocks = 0;
  int32_t context_tokens_max = 0;
  int32_t vocab_size = 0;
  std::vector<int32_t> eos_token_ids;
  int32_t heartbeat_ms = 0;
  int64_t process_id = 0;
  int32_t batch_sequences_max = 0;
  int32_t waiting_sequences_max = 0;
  int64_t waiting_tokens_max = 0;
  int64_t kv_bytes_per_token = 0;
  int32_t step_tokens_max = 0;
  int32_t tensor_parallel_size = 1;
  DeviceProfile device;
};

// What it reported last.
struct WorkerLoad {
  engine::LoadReport engine;
  uint64_t kv_bytes = 0;       // handed over since its start
  double kv_busy_seconds = 0;  // with a hand-over under way
  uint64_t handovers_failed = 0;
  bool stalled = false;  // its engine hangs in a step
};

// A worker as one placement sees it. A plain copy: policies hold no references into the roster.
struct WorkerState {
  WorkerProfile profile;
  uint64_t stay = 0;  // the roster's: who copies again sees whether `profile` is still this one
  WorkerLoad load;
  // Placed here by this router, too recently to be in the report.
  int32_t added_sequences = 0;
  int64_t added_tokens = 0;
  int32_t added_blocks = 0;
  // What runs or waits there: this router's, exactly, and others', by the last reports.
  int32_t held_sequences = 0;
  int32_t other_sequences = 0;
  // The request could not begin there soon: only taken when nobody else is there.
  bool crowded = false;
  // Leading blocks of this request's prompt that lie in its prefix cache.
  int32_t cached_blocks = 0;
  // The same, with the blocks of prompts that were placed here a moment ago; at least
  // cached_blocks. They are computed ahead of this request.
  int32_t expected_blocks = 0;

  // First tokens whose prompts it computes come so many times later than is estimated for it: what
  // the estimate leaves out, learned from those that came.
  double ttft_factor = 1;

  int32_t held_tokens() const { return cached_blocks * profile.block_tokens; }
  // Held by the time this request's turn comes.
  int32_t cached_tokens() const {
    return std::max(cached_blocks, expected_blocks) * profile.block_tokens;
  }
  // Of the prompt, to be computed here. The last token always is: its logits are the answer.
  int32_t uncached_tokens(int32_t prompt_tokens) const {
    return std::max(1, prompt_tokens - std::min(cached_tokens(), prompt_tokens - 1));
  }
  int32_t sequences() const { return load.engine.running + load.engine.waiting + added_sequences; }
  int32_t taken_sequences() const { return held_sequences + other_sequences; }
  int64_t queued_tokens() const { return load.engine.waiting_tokens + added_tokens; }
};

}  // namespace baton::router
