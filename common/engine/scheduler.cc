#include "common/engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

// So many in the queue are looked past for one that is computed elsewhere.
constexpr int32_t kPassedMax = 16;

// Tokens of its prompt that are still to be computed.
int64_t PromptTokensLeft(const Sequence& sequence) {
  const bool decodes = sequence.pending_tokens() <= 1 && sequence.has_first_token();
  return decodes ? 0 : sequence.pending_tokens();
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, kv::BlockSpace& space,
                     std::function<bool(const Sequence&)> prefer_swap,
                     std::function<absl::Duration(int64_t)> prefill_time,
                     std::function<int32_t(const StepPlan&)> prompt_tokens_beside)
    : options_(options),
      space_(space),
      prefer_swap_(std::move(prefer_swap)),
      prefill_time_(std::move(prefill_time)),
      prompt_tokens_beside_(std::move(prompt_tokens_beside)) {
  CHECK(
      options_.batch_sequences_max >= 1 && options_.step_tokens_max >= options_.batch_sequences_max,
      "{} sequences in {} tokens", options_.batch_sequences_max, options_.step_tokens_max);
  for (int32_t slot = options_.host_blocks - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Scheduler::Enqueue(Sequence& sequence) {
  if (sequence.state == SequenceState::kAwaitingKv) --num_awaiting_;
  sequence.state = SequenceState::kWaiting;
  CHECK(waiting_.insert(&sequence).second, "queued twice");
}

void Scheduler::Join(Sequence& sequence) {
  CHECK(sequence.state == SequenceState::kAwaitingKv, "joins from state {}",
        static_cast<int>(sequence.state));
  --num_awaiting_;
  sequence.remote_prefill = false;  // if it is preempted, its prompt and output are computed here
  InsertRunning(sequence);
}

void Scheduler::Remove(Sequence& sequence) {
  switch (sequence.state) {
    case SequenceState::kWaiting:
      waiting_.erase(&sequence);
      break;
    case SequenceState::kAwaitingKv:
      --num_awaiting_;
      break;
    case SequenceState::kRunning:
      std::erase(running_, &sequence);
      break;
    case SequenceState::kFollowing:
    case SequenceState::kHandedOver:
      break;
  }
  FreeSlots(sequence);
}

StepPlan Scheduler::Plan() {
  StepPlan plan;
  PreemptForUrgent(plan);
  PlanDecodes(plan);
  plan.prefill_tokens_max = options_.step_tokens_max - plan.decodes;
  if (plan.decodes > 0 && prompt_tokens_beside_) {
    plan.prefill_tokens_max = std::min(plan.prefill_tokens_max, prompt_tokens_beside_(plan));
  }
  PlanChunks(plan);
  PlanAdmissions(plan);
  return plan;
}

bool Scheduler::CanPlanAhead() const {
  const Sequence* last = LastPreemptible();
  const bool urgent = !waiting_.empty() && last != nullptr &&
                      last->spec.priority > (*waiting_.begin())->spec.priority;
  return !urgent && space_.pool.allocatable() >= num_running();  // a block each, at most
}

void Scheduler::Begin(const StepPlan::Part& part) { part.sequence->num_computed = part.computed; }

void Scheduler::Commit(const StepPlan::Part& part) {
  part.sequence->blocks.Commit(part.sequence->tokens, part.computed);
}

int64_t Scheduler::PendingPromptTokens() const {
  int64_t tokens = RunningPromptTokens();
  for (const Sequence* sequence : waiting_) tokens += PromptTokensLeft(*sequence);
  return tokens;
}

int64_t Scheduler::RunningPromptTokens() const {
  int64_t tokens = 0;
  for (const Sequence* sequence : running_) tokens += PromptTokensLeft(*sequence);
  return tokens;
}

// The batch may hold more than one step takes (prompts arrive from elsewhere when they like): the
// first ones in order run, the others keep their blocks and wait for a place.
void Scheduler::PlanDecodes(StepPlan& plan) {
  // Preemption shortens running_ from behind the current one.
  for (size_t i = 0; i < running_.size(); ++i) {
    if (i >= static_cast<size_t>(options_.batch_sequences_max)) break;
    Sequence& sequence = *running_[i];
    if (sequence.pending_tokens() != 1) continue;
    if (MakeRoomForNextToken(sequence, plan)) AddPart(plan, sequence, 1);
  }
}

void Scheduler::PlanChunks(StepPlan& plan) {
  for (size_t i = 0; i < running_.size(); ++i) {
    if (i >= static_cast<size_t>(options_.batch_sequences_max)) break;
    Sequence& sequence = *running_[i];
    if (sequence.pending_tokens() <= 1) continue;
    if (TokensLeft(plan) == 0) break;
    AddPart(plan, sequence, std::min(sequence.pending_tokens(), TokensLeft(plan)));
  }
}

void Scheduler::PlanAdmissions(StepPlan& plan) {
  int64_t tokens_ahead = RunningPromptTokens();
  int32_t passed = 0;
  int32_t blocks_kept = 0;  // for those that are passed
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    Sequence& sequence = **next++;
    if (TurnsRemote(sequence, tokens_ahead)) sequence.remote_prefill = true;
    if (MayBePassed(sequence, plan, passed)) {
      ++passed;
      blocks_kept += space_.BlocksFor(sequence.num_tokens());
      tokens_ahead += PromptTokensLeft(sequence);
      continue;
    }
    if (!sequence.remote_prefill && TokensLeft(plan) == 0) break;
    if (BatchFullFor(sequence) || BlocksMissing(sequence) + blocks_kept > 0) break;
    Admit(sequence, plan);
    if (sequence.state != SequenceState::kRunning) continue;
    tokens_ahead += PromptTokensLeft(sequence);
    if (TokensLeft(plan) > 0) {
      AddPart(plan, sequence, std::min(sequence.pending_tokens(), TokensLeft(plan)));
    }
  }
}

// It lacks nothing but tokens of a step, and will still have its place in the batch.
bool Scheduler::MayBePassed(const Sequence& sequence, const StepPlan& plan, int32_t passed) const {
  return !sequence.remote_prefill && TokensLeft(plan) == 0 && passed < kPassedMax &&
         num_running() + num_awaiting_ + passed + 1 < options_.batch_sequences_max;
}

// Never once it has a token: what a prefill worker computes is the prompt.
bool Scheduler::TurnsRemote(const Sequence& sequence, int64_t tokens_ahead) const {
  return sequence.local_wait_max < absl::InfiniteDuration() && tokens_ahead > 0 &&
         !sequence.remote_prefill && !sequence.has_first_token() && !sequence.swapped() &&
         prefill_time_(tokens_ahead) > sequence.local_wait_max;
}

void Scheduler::PreemptForUrgent(StepPlan& plan) {
  if (waiting_.empty()) return;
  Sequence& urgent = **waiting_.begin();
  const Sequence* last = LastPreemptible();
  if (last == nullptr || last->spec.priority <= urgent.spec.priority) return;
  if (!CanPreemptEnoughFor(urgent)) return;
  while (BatchFullFor(urgent) || BlocksMissing(urgent) > 0) {
    Sequence* victim = LastPreemptible();
    if (victim == nullptr || victim->spec.priority <= urgent.spec.priority) return;
    Preempt(*victim, plan);
  }
}

// An upper bound (blocks may be shared), so that nobody is preempted when it could not help anyway.
bool Scheduler::CanPreemptEnoughFor(Sequence& sequence) const {
  int32_t blocks = 0;
  for (const Sequence* other : running_) {
    const bool victim = !other->prefill_only && other->spec.priority > sequence.spec.priority;
    if (victim) blocks += other->blocks.num_blocks();
  }
  return BlocksMissing(sequence) <= blocks;
}

void Scheduler::AddPart(StepPlan& plan, Sequence& sequence, int32_t query_tokens) {
  const bool picks = query_tokens == sequence.pending_tokens() && sequence.sampling.generates();
  plan.parts.push_back({&sequence, query_tokens, sequence.num_computed + query_tokens, picks});
  plan.context_tokens += sequence.num_computed + query_tokens;
  if (query_tokens == 1) {
    ++plan.decodes;
  } else {
    plan.prefill_tokens += query_tokens;
  }
}

int32_t Scheduler::TokensLeft(const StepPlan& plan) const {
  if (static_cast<int32_t>(plan.parts.size()) >= options_.batch_sequences_max) return 0;
  const int32_t budget = options_.step_tokens_max - plan.decodes - plan.prefill_tokens;
  return std::max(0, std::min(budget, plan.prefill_tokens_max - plan.prefill_tokens));
}

int32_t Scheduler::BlocksMissing(Sequence& sequence) const {
  const auto found = sequence.blocks.Probe(sequence.tokens, PrefixBlocksMax(sequence));
  const int32_t needed = space_.BlocksFor(sequence.num_tokens()) - found.blocks;
  // A little is left for those that run, or the newcomer would be preempted at once.
  const int32_t spare = running_.empty() ? 0 : std::max(1, space_.pool.counters().total / 100);
  return needed + spare - (space_.pool.allocatable() - found.cached_blocks);
}

// At least one token must be computed to have logits; what is swapped out has them already. A
// cached block has K and V but no logits, so a prompt whose tokens are to be scored is computed
// from the first one that is not scored yet.
int32_t Scheduler::PrefixBlocksMax(const Sequence& sequence) const {
  const int32_t tokens = sequence.swapped() ? sequence.num_computed : sequence.cacheable_tokens();
  return tokens / space_.block_tokens;
}

bool Scheduler::BatchFullFor(const Sequence& sequence) const {
  // Remote prefills overlap with a full batch; they take their place when they arrive.
  return (sequence.remote_prefill ? num_awaiting_ : num_running()) >= options_.batch_sequences_max;
}

void Scheduler::Admit(Sequence& sequence, StepPlan& plan) {
  waiting_.erase(&sequence);
  const int32_t taken = sequence.blocks.TakePrefix(sequence.tokens, PrefixBlocksMax(sequence));
  CHECK(sequence.blocks.GrowTo(space_.BlocksFor(sequence.num_tokens())), "admitted without room");
  plan.admitted.push_back(&sequence);
  if (sequence.swapped()) {
    SwapIn(sequence, taken, plan);
  } else {
    sequence.num_computed = taken * space_.block_tokens;
  }
  // What little a cached prefix leaves is not worth a trip.
  const bool nearly_cached = taken > 0 && sequence.pending_tokens() <= space_.block_tokens;
  if (sequence.remote_prefill && !nearly_cached) {
    sequence.state = SequenceState::kAwaitingKv;
    sequence.first_block = taken;
    ++num_awaiting_;
    plan.awaiting.push_back(&sequence);
    return;
  }
  sequence.remote_prefill = false;
  InsertRunning(sequence);
}

void Scheduler::SwapIn(Sequence& sequence, int32_t first_block, StepPlan& plan) {
  const std::span<const int32_t> blocks = sequence.blocks.ids();
  for (size_t i = first_block; i < sequence.host_slots.size(); ++i) {
    plan.copies.push_back(
        {BlockCopy::Direction::kToDevice, BlockId(blocks[i]), sequence.host_slots[i]});
  }
  FreeSlots(sequence);
}

bool Scheduler::MakeRoomForNextToken(Sequence& sequence, StepPlan& plan) {
  const int32_t needed = space_.BlocksFor(sequence.num_computed + 1);
  while (!sequence.blocks.GrowTo(std::max(needed, sequence.blocks.num_blocks()))) {
    Sequence* victim = LastPreemptible();
    if (victim == nullptr || victim == &sequence || victim->Before(sequence)) return false;
    Preempt(*victim, plan);
  }
  return true;
}

// A prefill for somebody else never needs another block and is soon over, so it stays.
Sequence* Scheduler::LastPreemptible() const {
  const auto last = std::find_if(running_.rbegin(), running_.rend(),
                                 [](const Sequence* s) { return !s->prefill_only; });
  return last == running_.rend() ? nullptr : *last;
}

void Scheduler::Preempt(Sequence& sequence, StepPlan& plan) {
  CHECK(sequence.steps_under_way == 0, "preempted while a step writes to its blocks");
  const int32_t slots_needed = space_.BlocksFor(sequence.num_computed);
  const bool swap = slots_needed > 0 && slots_needed <= host_slots_free() && prefer_swap_(sequence);
  if (swap) {
    SwapOut(sequence, plan);
  } else {
    sequence.num_computed = 0;
  }
  std::erase(running_, &sequence);
  sequence.blocks.Release();
  ++sequence.times.preemptions;
  ++plan.preempted;
  Enqueue(sequence);
}

void Scheduler::SwapOut(Sequence& sequence, StepPlan& plan) {
  const int32_t num_blocks = space_.BlocksFor(sequence.num_computed);
  for (int32_t i = 0; i < num_blocks; ++i) {
    const int32_t slot = free_slots_.back();
    free_slots_.pop_back();
    sequence.host_slots.push_back(slot);
    plan.copies.push_back({BlockCopy::Direction::kToHost, BlockId(sequence.blocks.ids()[i]), slot});
  }
}

void Scheduler::InsertRunning(Sequence& sequence) {
  sequence.state = SequenceState::kRunning;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, InOrder()),
                  &sequence);
}

void Scheduler::FreeSlots(Sequence& sequence) {
  free_slots_.insert(free_slots_.end(), sequence.host_slots.begin(), sequence.host_slots.end());
  sequence.host_slots.clear();
}

}  // namespace baton::engine
