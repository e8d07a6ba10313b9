#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "common/engine/sequence.h"
#include "common/engine/step_plan.h"
#include "common/kv/block_table.h"

namespace baton::engine {

struct SchedulerOptions {
  int32_t batch_sequences_max = 64;  // in one step
  int32_t step_tokens_max = 512;     // in one step; at least batch_sequences_max
  int32_t host_blocks = 0;           // host slots to swap to
};

// Decides who runs. A deterministic function of the calls made to it: no threads, no clock, no
// memory of its own but lists, so that it can be simulated. Touched by the engine thread only.
//
// Order is by priority, then arrival, in the queue and in the batch alike:
//   1. decodes, one token each; one that lacks a block preempts the last in the batch, or, being
//      last itself, sits the step out
//   2. chunks of admitted prompts, from what is left of the token budget, and no more than the
//      decodes are to wait for
//   3. admission from the queue, while blocks for the whole prompt (less its cached prefix) are
//      there; a prompt that is computed elsewhere goes past those that wait for a step's tokens
//      here
// A more urgent sequence in the queue preempts less urgent ones in the batch. The first in the
// batch is never preempted, so it always gets on.
class Scheduler {
 public:
  // `prefer_swap` says how a sequence that must go is better kept: in host memory, or computed
  // again; `prefill_time` how long so many tokens of prompts take here; `prompt_tokens_beside` how
  // many of them (at least one) a step may take that has decodes, which are planned by then; null:
  // what is left of step_tokens_max.
  Scheduler(const SchedulerOptions& options, kv::BlockSpace& space,
            std::function<bool(const Sequence&)> prefer_swap,
            std::function<absl::Duration(int64_t)> prefill_time,
            std::function<int32_t(const StepPlan&)> prompt_tokens_beside = nullptr);

  // Into the queue: new, or after a failed hand-over.
  void Enqueue(Sequence& sequence);
  // Into the batch: its prompt has arrived.
  void Join(Sequence& sequence);
  // Out of the queue, the batch or the awaited, and its host slots freed. Its blocks are the
  // caller's business.
  void Remove(Sequence& sequence);

  StepPlan Plan();
  // Whether Plan() can do without taking blocks from anyone, and so without knowing what becomes of
  // the steps under way.
  bool CanPlanAhead() const;
  // The part is being run: from now on its tokens count as computed.
  void Begin(const StepPlan::Part& part);
  // It was: full blocks get their names.
  void Commit(const StepPlan::Part& part);

  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  int32_t num_awaiting() const { return num_awaiting_; }
  int32_t host_slots_free() const { return static_cast<int32_t>(free_slots_.size()); }
  // Tokens of prompts (after recompute: of outputs, too) that the queue and the batch still have to
  // compute here.
  int64_t PendingPromptTokens() const;

 private:
  struct InOrder {
    bool operator()(const Sequence* a, const Sequence* b) const { return a->Before(*b); }
  };

  void PlanDecodes(StepPlan& plan);
  void PlanChunks(StepPlan& plan);
  void PlanAdmissions(StepPlan& plan);
  void PreemptForUrgent(StepPlan& plan);
  bool CanPreemptEnoughFor(Sequence& sequence) const;
  void AddPart(StepPlan& plan, Sequence& sequence, int32_t query_tokens);
  int32_t TokensLeft(const StepPlan& plan) const;

  // How many blocks `sequence` lacks for admission beyond those that can be had now; <= 0:
  // admissible.
  int32_t BlocksMissing(Sequence& sequence) const;
  int32_t PrefixBlocksMax(const Sequence& sequence) const;
  bool BatchFullFor(const Sequence& sequence) const;
  bool MayBePassed(const Sequence& sequence, const StepPlan& plan, int32_t passed) const;
  // Prefilled elsewhere after all, with so many tokens of prompts ahead of it?
  bool TurnsRemote(const Sequence& sequence, int64_t tokens_ahead) const;
  int64_t RunningPromptTokens() const;
  void Admit(Sequence& sequence, StepPlan& plan);
  void SwapIn(Sequence& sequence, int32_t first_block, StepPlan& plan);
  bool MakeRoomForNextToken(Sequence& sequence, StepPlan& plan);
  Sequence* LastPreemptible() const;
  void Preempt(Sequence& sequence, StepPlan& plan);
  void SwapOut(Sequence& sequence, StepPlan& plan);
  void InsertRunning(Sequence& sequence);
  void FreeSlots(Sequence& sequence);

  const SchedulerOptions options_;
  kv::BlockSpace& space_;
  const std::function<bool(const Sequence&)> prefer_swap_;
  const std::function<absl::Duration(int64_t)> prefill_time_;
  const std::function<int32_t(const StepPlan&)> prompt_tokens_beside_;
  std::set<Sequence*, InOrder> waiting_;
  std::vector<Sequence*> running_;  // in order
  int32_t num_awaiting_ = 0;
  std::vector<int32_t> free_slots_;
};

}  // namespace baton::engine
