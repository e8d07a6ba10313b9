#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/engine/commands.h"
#include "common/engine/kv_mirror.h"
#include "common/engine/observer.h"
#include "common/engine/swap_store.h"
#include "common/engine/timeline.h"
#include "common/model/model_runner.h"

namespace baton::engine {

enum class PreemptionMode : uint8_t { kAuto, kRecompute, kSwap };

struct EngineOptions {
  int32_t block_tokens = 16;         // P: 16, 32 or 64
  int32_t num_blocks = 0;            // of the KV pool, >= 2
  int32_t num_spares = 0;            // blocks behind them that stand in for quarantined ones
  int32_t host_blocks = 0;           // swap space in host memory; 0: preempt by recompute only.
                                     // More than 0 needs a SwapStore of as many slots
  int32_t batch_sequences_max = 64;  // MAX_BATCH_SIZE: sequences in one step
  int32_t step_tokens_max = 512;  // token budget of one step: decodes first, then prefill chunks;
                                  // at least batch_sequences_max
  absl::Duration itl_target;  // chunks of prompts are cut so that a step with decodes takes about
                              // this; 0: step_tokens_max alone counts
  int32_t waiting_sequences_max = 1024;  // bounded queue; beyond it RESOURCE_EXHAUSTED
  int64_t waiting_tokens_max = 1 << 20;  // MAX_WAITING_TOKENS: prompt tokens in the queue
  bool prefix_cache = true;
  PreemptionMode preemption = PreemptionMode::kAuto;
  // A device is given the next step before the tokens of this one are known, where runner and
  // requests allow for it.
  bool look_ahead = true;
  // How long a quarantined block waits for its writer's answer before a spare takes its place.
  absl::Duration quarantine_patience = absl::Milliseconds(250);
  // Gives the memory of blocks that are out of use back; null: it is kept. Engine thread.
  std::function<void(std::span<const BlockId>)> drop_memory;
  std::string salt;  // seeds the block hashes: model and tenant never share blocks
  absl::Duration load_report_interval = absl::Milliseconds(100);
  absl::Duration load_report_interval_with_new_work = absl::Milliseconds(10);

  // INVALID_ARGUMENT naming the field, its value and its range.
  absl::Status Validate() const;
};

// Continuous batching over a paged KV cache. One engine thread owns scheduler, block pool and
// runner; every public method may be called from any thread. Used alike by prefill and decode
// workers.
class Engine {
 public:
  // `runner`, `observer` and `clock` outlive the engine. The runner's KV must be bound already to a
  // pool of `options.num_blocks` + `options.num_spares` blocks; `swap` (MakeHostSwapStore for host
  // memory) copies that pool's blocks. `mirror`: for a pool that peers cannot reach.
  static absl::StatusOr<std::unique_ptr<Engine>> Start(const EngineOptions& options,
                                                       model::ModelRunner& runner,
                                                       Observer& observer, const Clock& clock,
                                                       std::unique_ptr<SwapStore> swap = nullptr,
                                                       std::unique_ptr<KvMirror> mirror = nullptr);
  // Stops at once: every sequence ends as kCancelled, every block is given up (so transfers that
  // touch the pool are over, or its memory outlives them). Joins the thread.
  virtual ~Engine() = default;

  // Submit / SubmitPrefill: RESOURCE_EXHAUSTED when the queue is full (count or tokens),
  // INVALID_ARGUMENT when prompt + 1 can never fit (says both numbers), FAILED_PRECONDITION when
  // draining, ALREADY_EXISTS while this very sequence is going on. All other commands are always
  // taken.
  virtual absl::Status Post(Command command) = 0;

  // From now on nothing new of this kind is accepted; what runs goes on.
  virtual void Drain(Refuse what) = 0;
  // True when no sequence waits or runs and no hand-over holds blocks.
  virtual bool idle() const = 0;
  // The last LoadReport; fresh whenever the engine is idle.
  virtual LoadReport load() const = 0;
  // For how long the step under way has gone on; zero while the engine waits for work.
  virtual absl::Duration step_age() const { return absl::ZeroDuration(); }
  // The last steps, oldest first.
  virtual std::vector<StepRecord> timeline() const { return {}; }
};

}  // namespace baton::engine
