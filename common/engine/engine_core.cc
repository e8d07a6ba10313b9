#include "common/engine/engine_core.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/engine/sequence_limits.h"

namespace baton::engine {

EngineCore::EngineCore(const EngineOptions& options, model::ModelRunner& runner, Observer& observer,
                       const Clock& clock, SwapStore* swap, AdmissionGate& gate, KvMirror* mirror)
    : options_(options),
      context_tokens_max_(SequenceLimits(options, runner.info()).context_tokens_max()),
      runner_(runner),
      observer_(observer),
      clock_(clock),
      gate_(gate),
      mirror_(mirror),
      pool_(options.num_blocks, options.num_spares),
      cache_(pool_),
      hasher_(options.salt),
      space_{pool_, options.prefix_cache ? &cache_ : nullptr, hasher_, options.block_tokens},
      quarantine_(pool_, options.quarantine_patience, options.drop_memory),
      executor_(runner, swap, clock, options.step_tokens_max),
      scheduler_(
          {.batch_sequences_max = options.batch_sequences_max,
           .step_tokens_max = options.step_tokens_max,
           .host_blocks = swap == nullptr ? 0 : options.host_blocks},
          space_,
          [this](const Sequence& sequence) {
            if (options_.preemption != PreemptionMode::kAuto) {
              return options_.preemption == PreemptionMode::kSwap;
            }
            return executor_.SwapIsCheaper(sequence);
          },
          [this](int64_t tokens) { return executor_.PrefillTime(tokens); },
          [this](const StepPlan& plan) {
            return options_.itl_target > absl::ZeroDuration()
                       ? executor_.PromptTokensWithin(options_.itl_target, plan)
                       : options_.step_tokens_max;
          }) {}

EngineCore::~EngineCore() {
  CHECK(sequences_.empty() && prefills_.empty() && under_way_.empty(),
        "destroyed with work, before Shutdown()");
}

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
  if (submit.remote_prefill && sequence.scores_wanted == 0 && sequence.sampling.generates()) {
    const bool at_once = submit.local_wait_max < absl::ZeroDuration();
    sequence.remote_prefill = at_once;
    if (!at_once) sequence.local_wait_max = submit.local_wait_max;
  }
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

void EngineCore::OnSendSnapshot() {
  cache_.TakeChanges();  // the snapshot has them
  KvEvents events;
  events.number = ++kv_events_number_;
  events.snapshot = true;
  for (const auto& [hash, parent] : cache_.Snapshot()) events.stored.push_back({hash, parent});
  observer_.OnKvEvents(std::move(events));
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

WorkKey EngineCore::KeyOf(const Sequence& sequence) {
  return {sequence.spec.id, sequence.prefill_only, sequence.prefill_only ? sequence.epoch : 0};
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
  sequence.ended = true;
  if (sequence.steps_under_way == 0) GiveUpBlocks(sequence);
  LeaveQueue(sequence);
  SequenceOutput& output = OutputOf(sequence);
  output.finish = reason;
  output.status = std::move(status);
  deadlines_.erase({sequence.deadline, sequence.arrival, &sequence});
  auto found = sequences_.extract(id);
  if (sequence.steps_under_way > 0) {
    ended_.push_back(std::move(found.mapped()));
  } else {
    left_.push_back(KeyOf(sequence));
  }
  ReleaseFollowers(id);
}

// The last step that wrote to its blocks is over.
void EngineCore::DropEnded(Sequence& sequence) {
  sequence.blocks.Release();
  left_.push_back(KeyOf(sequence));
  std::erase_if(ended_, [&](const auto& other) { return other.get() == &sequence; });
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
  while (!under_way_.empty()) FinishStep();
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
  load.blocks_replaced = blocks.replaced;
  load.fit = executor_.fit();
  load.prefill_work = executor_.prefill_work();
  load.decode_work = executor_.decode_work();
  return load;
}

absl::Duration EngineCore::next_deadline() const {
  const absl::Duration replacement = quarantine_.next_replacement();
  return deadlines_.empty() ? replacement
                            : std::min(replacement, std::get<absl::Duration>(*deadlines_.begin()));
}

}  // namespace baton::engine
