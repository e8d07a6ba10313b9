#include "common/engine/engine_core.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "common/base/check.h"
#include "common/engine/sequence_limits.h"

namespace baton::engine {
namespace {

// Unique in this process, so that two engines' epochs never mix either.
uint64_t NextEpoch() {
  static std::atomic<uint64_t> next = 1;
  return next.fetch_add(1);
}

WorkKey KeyOf(const Sequence& sequence) {
  return {sequence.spec.id, sequence.prefill_only, sequence.prefill_only ? sequence.epoch : 0};
}

absl::Status DeadlineExceeded(const Sequence& sequence) {
  return absl::DeadlineExceededError(fmt::format(
      "the deadline passed after {} of its output tokens", sequence.sampling.num_outputs()));
}

}  // namespace

EngineCore::EngineCore(const EngineOptions& options, model::ModelRunner& runner, Observer& observer,
                       const Clock& clock, SwapStore* swap, AdmissionGate& gate, KvMirror* mirror)
    : options_(options),
      context_tokens_max_(SequenceLimits(options, runner.info()).context_tokens_max()),
      runner_(runner),
      observer_(observer),
      clock_(clock),
      gate_(gate),
      mirror_(mirror),
      pool_(options.num_blocks),
      cache_(pool_),
      hasher_(options.salt),
      space_{pool_, options.prefix_cache ? &cache_ : nullptr, hasher_, options.block_tokens},
      quarantine_(pool_),
      executor_(runner, swap, clock, options.step_tokens_max),
      scheduler_({.batch_sequences_max = options.batch_sequences_max,
                  .step_tokens_max = options.step_tokens_max,
                  .host_blocks = swap == nullptr ? 0 : options.host_blocks},
                 space_, [this](const Sequence& sequence) {
                   if (options_.preemption != PreemptionMode::kAuto) {
                     return options_.preemption == PreemptionMode::kSwap;
                   }
                   return executor_.SwapIsCheaper(sequence);
                 }) {}

EngineCore::~EngineCore() {
  CHECK(sequences_.empty() && prefills_.empty(), "destroyed with work, before Shutdown()");
}

// --- commands
// -------------------------------------------------------------------------------------------

void EngineCore::Handle(Command command, absl::Duration posted_at) {
  struct Visitor {
    EngineCore& core;
    absl::Duration posted_at;
    void operator()(Submit&& submit) { core.OnSubmit(std::move(submit), posted_at); }
    void operator()(SubmitPrefill&& submit) { core.OnSubmitPrefill(std::move(submit), posted_at); }
    void operator()(Cancel&& cancel) { core.OnCancel(cancel.id); }
    void operator()(KvArrived&& arrived) { core.OnKvArrived(std::move(arrived)); }
    void operator()(KvFailed&& failed) { core.OnKvFailed(failed); }
    void operator()(KvFenced&& fenced) { core.OnKvFenced(fenced.epoch); }
    void operator()(KvSent&& sent) { core.OnKvSent(sent.id, sent.epoch); }
    void operator()(SendSnapshot&&) { core.OnSendSnapshot(); }
  };
  std::visit(Visitor{*this, posted_at}, std::move(command));
}

std::unique_ptr<Sequence> EngineCore::MakeSequence(SequenceSpec spec, absl::Duration posted_at) {
  auto sequence =
      std::make_unique<Sequence>(std::move(spec), space_, runner_.info(), context_tokens_max_);
  sequence->arrival = next_arrival_++;
  sequence->submitted_at = posted_at;
  if (sequence->spec.time_left != absl::InfiniteDuration()) {
    sequence->deadline = posted_at + sequence->spec.time_left;
    deadlines_.emplace(sequence->deadline, sequence->arrival, sequence.get());
  }
  return sequence;
}

void EngineCore::OnSubmit(Submit submit, absl::Duration posted_at) {
  auto made = MakeSequence(std::move(submit.spec), posted_at);
  Sequence& sequence = *made;
  sequence.counted = submit.counted;
  sequence.remote_prefill =
      submit.remote_prefill && sequence.scores_wanted == 0 && sequence.sampling.generates();
  CHECK(sequences_.emplace(sequence.spec.id, std::move(made)).second, "{}/{} submitted twice",
        sequence.spec.id.request.value(), sequence.spec.id.choice);
  if (submit.after && *submit.after != sequence.spec.id) {
    const auto leader = sequences_.find(*submit.after);
    if (leader != sequences_.end() && !leader->second->has_first_token()) {
      sequence.state = SequenceState::kFollowing;
      followers_[*submit.after].push_back(sequence.spec.id);
      return;
    }
  }
  scheduler_.Enqueue(sequence);
}

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

void EngineCore::OnCancel(const SequenceId& id) {
  if (const auto found = sequences_.find(id); found != sequences_.end()) {
    Finish(*found->second, FinishReason::kCancelled, absl::OkStatus());
  }
  std::vector<Sequence*> prefills;
  for (const auto& [key, sequence] : prefills_) {
    if (key.first == id) prefills.push_back(sequence.get());
  }
  for (Sequence* prefill : prefills) {
    FinishPrefill(*prefill, absl::CancelledError("cancelled"), {});
  }
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
  AcceptToken(*sequence, std::move(arrived.first));
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

void EngineCore::OnSendSnapshot() {
  cache_.TakeChanges();  // the snapshot has them
  KvEvents events;
  events.number = ++kv_events_number_;
  events.snapshot = true;
  for (const auto& [hash, parent] : cache_.Snapshot()) events.stored.push_back({hash, parent});
  observer_.OnKvEvents(std::move(events));
}

// --- a step
// ---------------------------------------------------------------------------------------------

bool EngineCore::Step(const std::function<void()>& planned) {
  ExpireDeadlines();
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

// --- lives and deaths
// -----------------------------------------------------------------------------------

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

// Its prompt is in the prefix cache, or will never be.
void EngineCore::ReleaseFollowers(const SequenceId& id) {
  const auto found = followers_.find(id);
  if (found == followers_.end()) return;
  const std::vector<SequenceId> followers = std::move(found->second);
  followers_.erase(found);
  for (const SequenceId& follower : followers) {
    const auto sequence = sequences_.find(follower);
    if (sequence == sequences_.end()) continue;  // cancelled meanwhile
    if (sequence->second->state == SequenceState::kFollowing) scheduler_.Enqueue(*sequence->second);
  }
}

void EngineCore::End(Sequence& sequence, FinishReason reason, absl::Status status) {
  if (sequence.prefill_only) {
    FinishPrefill(sequence, std::move(status), {});
  } else {
    Finish(sequence, reason, std::move(status));
  }
}

void EngineCore::Finish(Sequence& sequence, FinishReason reason, absl::Status status) {
  const SequenceId id = sequence.spec.id;
  scheduler_.Remove(sequence);
  GiveUpBlocks(sequence);
  LeaveQueue(sequence);
  SequenceOutput& output = OutputOf(sequence);
  output.finish = reason;
  output.status = std::move(status);
  deadlines_.erase({sequence.deadline, sequence.arrival, &sequence});
  left_.push_back(KeyOf(sequence));
  sequences_.erase(id);
  ReleaseFollowers(id);
}

void EngineCore::GiveUpBlocks(Sequence& sequence) {
  if (sequence.state == SequenceState::kAwaitingKv && !sequence.fenced) {
    quarantine_.Hold(sequence.epoch, sequence.blocks.ReleaseAndQuarantine(sequence.first_block));
  } else {
    sequence.blocks.Release();
  }
}

// Also called for one that is handed over already: then nothing is left to say, and its blocks stay
// until KvSent.
void EngineCore::FinishPrefill(Sequence& sequence, absl::Status status, GeneratedToken first) {
  if (sequence.state == SequenceState::kHandedOver) return;
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

void EngineCore::LeaveQueue(Sequence& sequence) {
  if (!std::exchange(sequence.queued, false)) return;
  gate_.LeaveQueue(sequence.prompt_tokens());
}

// One per sequence and publication; a sequence that was told of last is likely told of again.
SequenceOutput& EngineCore::OutputOf(Sequence& sequence) {
  if (outputs_.empty() || outputs_.back().id != sequence.spec.id) {
    outputs_.push_back({.id = sequence.spec.id});
  }
  outputs_.back().times = sequence.times;
  return outputs_.back();
}

void EngineCore::Publish() {
  if (!outputs_.empty()) observer_.OnStep(std::exchange(outputs_, {}));
  PublishKvEvents();
  for (const WorkKey& key : left_) gate_.Leave(key);
  left_.clear();
}

void EngineCore::PublishKvEvents() {
  kv::PrefixCache::Changes changes = cache_.TakeChanges();
  if (changes.empty()) return;
  KvEvents events;
  events.number = ++kv_events_number_;
  for (const auto& [hash, parent] : changes.stored) events.stored.push_back({hash, parent});
  events.removed = std::move(changes.removed);
  observer_.OnKvEvents(std::move(events));
}

void EngineCore::Shutdown() {
  std::vector<Sequence*> all;
  for (const auto& [id, sequence] : sequences_) all.push_back(sequence.get());
  for (Sequence* sequence : all) Finish(*sequence, FinishReason::kCancelled, absl::OkStatus());
  all.clear();
  for (const auto& [key, prefill] : prefills_) all.push_back(prefill.get());
  for (Sequence* prefill : all) {
    prefill->sent = true;  // nobody will say so any more
    if (prefill->state == SequenceState::kHandedOver) {
      DropPrefill(*prefill);
    } else {
      FinishPrefill(*prefill, absl::CancelledError("the worker is shutting down"), {});
    }
  }
  Publish();
}

// --- what others want to know
// ---------------------------------------------------------------------------

LoadReport EngineCore::Load() const {
  LoadReport load = totals_;
  const auto following = std::count_if(sequences_.begin(), sequences_.end(), [](const auto& entry) {
    return entry.second->state == SequenceState::kFollowing;
  });
  load.waiting = scheduler_.num_waiting() + static_cast<int32_t>(following);
  load.running = scheduler_.num_running() + scheduler_.num_awaiting();
  load.waiting_tokens = scheduler_.PendingPromptTokens();
  const kv::BlockPool::Counters& blocks = pool_.counters();
  load.blocks_total = blocks.total;
  load.blocks_free = blocks.free;
  load.blocks_cached = blocks.cached;
  load.blocks_active = blocks.active;
  load.blocks_quarantined = blocks.quarantined;
  load.fit = executor_.fit();
  load.prefill_work = executor_.prefill_work();
  load.decode_work = executor_.decode_work();
  return load;
}

absl::Duration EngineCore::next_deadline() const {
  return deadlines_.empty() ? absl::InfiniteDuration()
                            : std::get<absl::Duration>(*deadlines_.begin());
}

}  // namespace baton::engine
