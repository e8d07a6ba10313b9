// One step: what it plans, runs, and tells.
#include "common/engine/engine_core.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

absl::Status DeadlineExceeded(const Sequence& sequence) {
  return absl::DeadlineExceededError(fmt::format(
      "the deadline passed after {} of its output tokens", sequence.sampling.num_outputs()));
}

}  // namespace

bool EngineCore::Step(const std::function<void()>& planned) {
  ExpireDeadlines();
  quarantine_.Replace(clock_.Monotonic());
  Publish();  // first tokens that have arrived, ends by command: not later than need be
  const absl::Duration start = clock_.Monotonic();
  const StepPlan plan = scheduler_.Plan();
  const absl::Duration plan_time = clock_.Monotonic() - start;
  NoteAdmissions(plan);
  executor_.Copy(plan.copies);
  BeginRemotePrefills(plan);
  if (plan.parts.empty()) {
    Publish();
    return false;
  }
  if (planned) planned();
  RunParts(plan);
  const absl::Duration publish_start = clock_.Monotonic();
  Publish();
  Record(plan, plan_time, clock_.Monotonic() - publish_start);
  return true;
}

void EngineCore::ExpireDeadlines() {
  if (deadlines_.empty()) return;
  const absl::Duration now = clock_.Monotonic();
  while (!deadlines_.empty() && std::get<absl::Duration>(*deadlines_.begin()) <= now) {
    Sequence& sequence = *std::get<Sequence*>(*deadlines_.begin());
    End(sequence, FinishReason::kError, DeadlineExceeded(sequence));
  }
}

void EngineCore::NoteAdmissions(const StepPlan& plan) {
  totals_.preemptions += plan.preempted;
  const absl::Duration now = clock_.Monotonic();
  for (Sequence* sequence : plan.admitted) {
    if (!sequence->queued) continue;  // admitted again
    LeaveQueue(*sequence);
    sequence->admitted_at = now;
    sequence->times.queued = now - sequence->submitted_at;
    const bool local = sequence->state == SequenceState::kRunning;
    sequence->times.cached_tokens =
        local ? sequence->num_computed : sequence->first_block * options_.block_tokens;
    if (sequence->counted) totals_.cached_tokens += sequence->times.cached_tokens;
  }
}

void EngineCore::RunParts(const StepPlan& plan) {
  const std::vector<KvReady> ready = TakeReadyBlocks(plan);
  std::function<void(int32_t)> on_layer;
  if (!ready.empty()) {
    on_layer = [&](int32_t layer) {
      for (KvReady piece : ready) {
        piece.layer = layer;
        if (mirror_ != nullptr) mirror_->ToHost(layer, piece.blocks);
        observer_.OnKvReady(std::move(piece));
      }
    };
  }
  StepExecutor::Tokens tokens = executor_.Execute(plan, std::move(on_layer));
  ++totals_.steps;

  // Every part counts as computed before any sequence ends and gives blocks up.
  CommitParts(plan, tokens.scored);
  size_t next = 0;
  for (const StepPlan::Part& part : plan.parts) {
    Sequence& sequence = *part.sequence;
    if (sequence.pending_tokens() > 0) continue;
    if (!sequence.sampling.generates()) {
      sequence.times.prefill = clock_.Monotonic() - sequence.admitted_at;
      Finish(sequence, FinishReason::kLength, absl::OkStatus());
    } else if (sequence.prefill_only) {
      FinishPrefill(sequence, absl::OkStatus(), std::move(tokens.sampled.at(next++)));
    } else {
      AcceptToken(sequence, std::move(tokens.sampled.at(next++)));
    }
  }
  CHECK(next == tokens.sampled.size(), "{} tokens for {} sequences", tokens.sampled.size(), next);
}

void EngineCore::CommitParts(const StepPlan& plan, std::span<GeneratedToken> scored) {
  for (const StepPlan::Part& part : plan.parts) {
    Sequence& sequence = *part.sequence;
    const int32_t prompt_left = std::max(0, sequence.prompt_tokens() - sequence.num_computed);
    if (sequence.counted) totals_.prompt_tokens += std::min(part.query_tokens, prompt_left);
    if (sequence.scores_told < sequence.scores_wanted) {
      TellScores(sequence, part.query_tokens, scored);
    }
    scheduler_.Commit(part);
  }
  CHECK(scored.empty(), "{} scored tokens belong to no sequence", scored.size());
}

// Takes this part's scores from the front of `scored`.
void EngineCore::TellScores(Sequence& sequence, int32_t query_tokens,
                            std::span<GeneratedToken>& scored) {
  std::vector<GeneratedToken>& told = OutputOf(sequence).prompt;
  if (sequence.scores_told == 0) {
    told.push_back({.token = sequence.tokens.front()});  // nothing comes before it
    sequence.scores_told = 1;
  }
  const Sequence::Scores scores = sequence.ScoresOf(query_tokens);
  const size_t count = scores.last - scores.first;
  CHECK(count <= scored.size(), "{} scores of {}", count, scored.size());
  std::move(scored.begin(), scored.begin() + count, std::back_inserter(told));
  scored = scored.subspan(count);
  sequence.scores_told += static_cast<int32_t>(count);
}

void EngineCore::AcceptToken(Sequence& sequence, GeneratedToken token) {
  sequence.tokens.push_back(token.token);
  const FinishReason reason = sequence.sampling.Add(token.token);
  if (sequence.counted) ++totals_.output_tokens;
  if (sequence.sampling.num_outputs() == 1) NoteFirstToken(sequence);
  OutputOf(sequence).tokens.push_back(std::move(token));
  if (reason != FinishReason::kNone) Finish(sequence, reason, absl::OkStatus());
}

void EngineCore::NoteFirstToken(Sequence& sequence) {
  sequence.times.prefill = clock_.Monotonic() - sequence.admitted_at;
  if (!sequence.prefill_only) ReleaseFollowers(sequence.spec.id);
}

void EngineCore::Record(const StepPlan& plan, absl::Duration plan_time,
                        absl::Duration publish_time) {
  StepRecord record;
  record.number = totals_.steps;
  record.plan = plan_time;
  record.copy = executor_.last_copy_time();
  record.execute = executor_.last_execute_time();
  record.publish = publish_time;
  record.start = clock_.Wall() - (plan_time + record.copy + record.execute + publish_time);
  record.decodes = plan.decodes;
  record.prefill_tokens = plan.prefill_tokens;
  record.prefill_sequences = static_cast<int32_t>(plan.parts.size()) - plan.decodes;
  record.context_tokens = plan.context_tokens;
  record.preempted = plan.preempted;
  record.waiting = scheduler_.num_waiting();
  record.running = scheduler_.num_running();
  record.blocks_allocatable = pool_.allocatable();
  timeline_.Add(record);
}

}  // namespace baton::engine
