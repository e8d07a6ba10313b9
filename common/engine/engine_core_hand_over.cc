// The KV of one sequence on two workers: asked for, sent, received, given up.
#include "common/engine/engine_core.h"

#include <atomic>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

// Unique in this process, so that two engines' epochs never mix either.
uint64_t NextEpoch() {
  static std::atomic<uint64_t> next = 1;
  return next.fetch_add(1);
}

}  // namespace

void EngineCore::OnSubmitPrefill(SubmitPrefill submit, absl::Duration posted_at) {
  submit.spec.sampling.prompt_logprobs.reset();  // its caller would have kept the prompt to itself
  auto made = MakeSequence(std::move(submit.spec), posted_at);
  Sequence& sequence = *made;
  sequence.prefill_only = true;
  sequence.epoch = submit.epoch;
  sequence.first_block = submit.first_block;
  CHECK(prefills_.emplace(PrefillKey(sequence.spec.id, submit.epoch), std::move(made)).second,
        "prefill of epoch {} submitted twice", submit.epoch);
  scheduler_.Enqueue(sequence);
}

Sequence* EngineCore::FindAwaiting(const SequenceId& id, uint64_t epoch) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return nullptr;
  Sequence& sequence = *found->second;
  const bool current = sequence.state == SequenceState::kAwaitingKv && sequence.epoch == epoch;
  return current ? &sequence : nullptr;
}

void EngineCore::OnKvArrived(KvArrived arrived) {
  Sequence* sequence = FindAwaiting(arrived.id, arrived.epoch);
  if (sequence == nullptr) return quarantine_.End(arrived.epoch);
  if (arrived.first.token < 0 || arrived.first.token >= runner_.info().vocab) {
    // Another process made this up; it must not reach the model.
    return OnKvFailed(
        {arrived.id, arrived.epoch,
         InvalidArgument("first token {} is not in the vocabulary", arrived.first.token),
         /*fenced=*/true});
  }
  if (mirror_ != nullptr) {
    mirror_->ToDevice(sequence->blocks.Slice(sequence->first_block, sequence->blocks.num_blocks()));
  }
  scheduler_.Join(*sequence);
  sequence->num_computed = sequence->num_tokens();
  sequence->blocks.Commit(sequence->tokens, sequence->num_computed);
  sequence->times.remote_prefill = true;
  AcceptToken(*sequence, sequence->num_tokens(), std::move(arrived.first));
}

void EngineCore::OnKvFailed(const KvFailed& failed) {
  Sequence* sequence = FindAwaiting(failed.id, failed.epoch);
  if (sequence == nullptr) {
    if (failed.fenced) quarantine_.End(failed.epoch);
    return;
  }
  sequence->fenced = sequence->fenced || failed.fenced;
  GiveUpBlocks(*sequence);
  sequence->remote_prefill = false;
  sequence->local_wait_max = absl::InfiniteDuration();  // nobody is asked again
  sequence->num_computed = 0;
  scheduler_.Enqueue(*sequence);
}

void EngineCore::OnKvFenced(uint64_t epoch) {
  quarantine_.End(epoch);
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->state == SequenceState::kAwaitingKv && sequence->epoch == epoch) {
      sequence->fenced = true;
    }
  }
}

void EngineCore::OnKvSent(const SequenceId& id, uint64_t epoch) {
  const auto found = prefills_.find(PrefillKey(id, epoch));
  if (found == prefills_.end()) return;
  Sequence& sequence = *found->second;
  sequence.sent = true;
  if (sequence.state == SequenceState::kHandedOver) DropPrefill(sequence);
}

void EngineCore::BeginRemotePrefills(const StepPlan& plan) {
  for (Sequence* sequence : plan.awaiting) {
    sequence->epoch = NextEpoch();
    sequence->fenced = false;
    SequenceSpec spec = sequence->spec;
    spec.time_left = sequence->deadline - clock_.Monotonic();
    observer_.OnPrefillNeeded(
        {.spec = std::move(spec),
         .epoch = sequence->epoch,
         .first_block = sequence->first_block,
         .blocks = sequence->blocks.Slice(sequence->first_block, sequence->blocks.num_blocks())});
  }
}

// Blocks of prompts computed for somebody else that this step completes: full ones, also those that
// came from the prefix cache, and the rest of the prompt with its last chunk.
std::vector<KvReady> EngineCore::TakeReadyBlocks(const StepPlan& plan) {
  std::vector<KvReady> ready;
  for (const StepPlan::Part& part : plan.parts) {
    Sequence& sequence = *part.sequence;
    if (!sequence.prefill_only || sequence.sent) continue;
    const bool last = part.query_tokens == sequence.pending_tokens();
    const int32_t computed = sequence.num_computed + part.query_tokens;
    const int32_t end = last ? space_.BlocksFor(computed) : computed / options_.block_tokens;
    if (end <= sequence.first_block) continue;
    ready.push_back({.id = sequence.spec.id,
                     .epoch = sequence.epoch,
                     .first_block = sequence.first_block,
                     .blocks = sequence.blocks.Slice(sequence.first_block, end)});
    sequence.first_block = end;
    sequence.sending = true;
  }
  return ready;
}

void EngineCore::GiveUpBlocks(Sequence& sequence) {
  if (sequence.state == SequenceState::kAwaitingKv && !sequence.fenced) {
    quarantine_.Hold(sequence.epoch, sequence.blocks.ReleaseAndQuarantine(sequence.first_block),
                     clock_.Monotonic());
  } else {
    sequence.blocks.Release();
  }
}

// Also called for one that is handed over already: then nothing is left to say, and its blocks stay
// until KvSent.
void EngineCore::FinishPrefill(Sequence& sequence, absl::Status status, GeneratedToken first) {
  if (sequence.state == SequenceState::kHandedOver) return;
  CHECK(sequence.steps_under_way == 0, "a prefill ends in the middle of a step");
  scheduler_.Remove(sequence);
  LeaveQueue(sequence);
  if (status.ok()) NoteFirstToken(sequence);
  deadlines_.erase({sequence.deadline, sequence.arrival, &sequence});
  sequence.state = SequenceState::kHandedOver;
  observer_.OnPrefillDone({.id = sequence.spec.id,
                           .epoch = sequence.epoch,
                           .status = std::move(status),
                           .first = std::move(first),
                           .times = sequence.times});
  if (!sequence.sending || sequence.sent) DropPrefill(sequence);
}

void EngineCore::DropPrefill(Sequence& sequence) {
  sequence.blocks.Release();
  left_.push_back(KeyOf(sequence));
  prefills_.erase(PrefillKey(sequence.spec.id, sequence.epoch));
}

}  // namespace baton::engine
