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

// Where the runner looks ahead, the device has up to two steps: this one is begun before the last
// one's tokens are asked for, with model::TokenToCome() in their place. What the last one's tokens
// change comes a step late: a sequence that ends with one of them has a part in this step for
// nothing, whose token is dropped, and keeps its blocks until then (`ended_`). What cannot be
// planned without knowing waits for the steps under way.
bool EngineCore::Step(const std::function<void()>& planned) {
  ExpireDeadlines();
  quarantine_.Replace(clock_.Monotonic());
  Publish();  // first tokens that have arrived, ends by command: not later than need be
  if (!under_way_.empty() && !scheduler_.CanPlanAhead()) FinishStep();
  const absl::Duration start = clock_.Monotonic();
  StepUnderWay step = {.plan = scheduler_.Plan()};
  step.plan_time = clock_.Monotonic() - start;
  NoteAdmissions(step.plan);
  executor_.Copy(step.plan.copies);
  step.copy_time = executor_.last_copy_time();
  BeginRemotePrefills(step.plan);
  const bool nothing_new = step.plan.parts.empty();
  if (nothing_new && under_way_.empty()) {
    Publish();
    return false;
  }
  if (!nothing_new) {
    if (planned) planned();
    BeginStep(std::move(step));
  }
  if (nothing_new || under_way_.size() > 1) FinishStep();
  if (!under_way_.empty() && !MayStayUnderWay(under_way_.front().plan)) FinishStep();
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

void EngineCore::BeginStep(StepUnderWay step) {
  const std::vector<KvReady> ready = TakeReadyBlocks(step.plan);
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
  executor_.Begin(step.plan, std::move(on_layer));
  int32_t sample = 0;
  for (const StepPlan::Part& part : step.plan.parts) {
    Sequence& sequence = *part.sequence;
    scheduler_.Begin(part);
    ++sequence.steps_under_way;
    if (!part.picks) continue;
    const bool goes_on = !sequence.prefill_only &&
                         !sequence.sampling.EndsWithNext(sequence.last_token_to_come() ? 1 : 0);
    if (goes_on) sequence.tokens.push_back(model::TokenToCome(sample));
    ++sample;
  }
  under_way_.push_back(std::move(step));
}

// Not where what comes next depends on the tokens themselves, or somebody waits for more than
// tokens.
bool EngineCore::MayStayUnderWay(const StepPlan& plan) const {
  if (!options_.look_ahead || !runner_.looks_ahead()) return false;
  return std::all_of(plan.parts.begin(), plan.parts.end(), [](const StepPlan::Part& part) {
    const Sequence& sequence = *part.sequence;
    return !sequence.prefill_only && sequence.scores_told >= sequence.scores_wanted &&
           (!part.picks || sequence.sampling.can_look_ahead());
  });
}

// The first of those under way.
void EngineCore::FinishStep() {
  StepExecutor::Tokens tokens = executor_.Finish();
  const StepUnderWay step = std::move(under_way_.front());
  under_way_.pop_front();
  ++totals_.steps;
  for (const StepPlan::Part& part : step.plan.parts) --part.sequence->steps_under_way;

  // Every part counts as computed before any sequence ends and gives blocks up.
  CommitParts(step.plan, tokens.scored);
  size_t next = 0;
  for (const StepPlan::Part& part : step.plan.parts) {
    FinishPart(part, part.picks ? &tokens.sampled.at(next++) : nullptr);
  }
  CHECK(next == tokens.sampled.size(), "{} tokens for {} sequences", tokens.sampled.size(), next);
  const absl::Duration publish_start = clock_.Monotonic();
  Publish();
  Record(step, clock_.Monotonic() - publish_start);
}

void EngineCore::FinishPart(const StepPlan::Part& part, GeneratedToken* picked) {
  Sequence& sequence = *part.sequence;
  if (sequence.ended) {
    if (sequence.steps_under_way == 0) DropEnded(sequence);
  } else if (!sequence.sampling.generates()) {
    if (part.computed < sequence.num_tokens()) return;
    sequence.times.prefill = clock_.Monotonic() - sequence.admitted_at;
    Finish(sequence, FinishReason::kLength, absl::OkStatus());
  } else if (picked != nullptr && sequence.prefill_only) {
    FinishPrefill(sequence, absl::OkStatus(), std::move(*picked));
  } else if (picked != nullptr) {
    AcceptToken(sequence, part.computed, std::move(*picked));
  }
}

void EngineCore::CommitParts(const StepPlan& plan, std::span<GeneratedToken> scored) {
  for (const StepPlan::Part& part : plan.parts) {
    Sequence& sequence = *part.sequence;
    const int32_t computed_before = part.computed - part.query_tokens;
    const int32_t prompt_left = std::max(0, sequence.prompt_tokens() - computed_before);
    if (sequence.counted) totals_.prompt_tokens += std::min(part.query_tokens, prompt_left);
    if (prompt_left > 0) ++sequence.times.prefill_chunks;
    if (sequence.ended) continue;
    if (sequence.scores_told < sequence.scores_wanted) TellScores(part, scored);
    scheduler_.Commit(part);
  }
  CHECK(scored.empty(), "{} scored tokens belong to no sequence", scored.size());
}

// Takes this part's scores from the front of `scored`.
void EngineCore::TellScores(const StepPlan::Part& part, std::span<GeneratedToken>& scored) {
  Sequence& sequence = *part.sequence;
  std::vector<GeneratedToken>& told = OutputOf(sequence).prompt;
  const Sequence::Scores scores =
      sequence.ScoresOf(part.query_tokens, part.computed - part.query_tokens);
  if (sequence.scores_told == 0) {
    told.push_back({.token = sequence.tokens.front()});  // nothing comes before it
    sequence.scores_told = 1;
  }
  const size_t count = scores.last - scores.first;
  CHECK(count <= scored.size(), "{} scores of {}", count, scored.size());
  std::move(scored.begin(), scored.begin() + count, std::back_inserter(told));
  scored = scored.subspan(count);
  sequence.scores_told += static_cast<int32_t>(count);
}

// `position`: where it stands among the sequence's tokens, at the end or as one that was to come.
void EngineCore::AcceptToken(Sequence& sequence, int32_t position, GeneratedToken token) {
  if (position < sequence.num_tokens()) {
    sequence.tokens[position] = token.token;
  } else {
    sequence.tokens.push_back(token.token);
  }
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

void EngineCore::Record(const StepUnderWay& step, absl::Duration publish_time) {
  const StepPlan& plan = step.plan;
  StepRecord record;
  record.number = totals_.steps;
  record.plan = step.plan_time;
  record.copy = step.copy_time;
  record.execute = executor_.last_execute_time();
  record.publish = publish_time;
  record.start = clock_.Wall() - (record.plan + record.copy + record.execute + publish_time);
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
