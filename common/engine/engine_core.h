#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/engine/admission_gate.h"
#include "common/engine/commands.h"
#include "common/engine/engine.h"
#include "common/engine/kv_mirror.h"
#include "common/engine/observer.h"
#include "common/engine/quarantine.h"
#include "common/engine/scheduler.h"
#include "common/engine/sequence.h"
#include "common/engine/step_executor.h"
#include "common/engine/swap_store.h"
#include "common/engine/timeline.h"
#include "common/kv/block_pool.h"
#include "common/kv/block_table.h"
#include "common/kv/prefix_cache.h"

namespace baton::engine {

// The engine without its thread: takes commands, runs steps, tells the observer. Deterministic,
// given its clock and runner, so that a cluster of them runs inside one test from one seed. One
// thread at a time; in production the engine thread, the only one that ever touches it
// (num_quarantined_epochs() and timeline() excepted).
class EngineCore {
 public:
  // What was handed in has passed SequenceLimits and entered `gate`. Everything outlives the core;
  // `swap` may be null, and so is `mirror` where peers reach the pool itself.
  EngineCore(const EngineOptions& options, model::ModelRunner& runner, Observer& observer,
             const Clock& clock, SwapStore* swap, AdmissionGate& gate, KvMirror* mirror = nullptr);
  ~EngineCore();  // after Shutdown()

  // `posted_at`: monotonic, when it was handed in.
  void Handle(Command command, absl::Duration posted_at);
  // Plans and runs one step; `planned` is called between the two, when it is known what there is
  // still to do. False when nothing could run: only a command, or a deadline, will help.
  bool Step(const std::function<void()>& planned = nullptr);
  // Ends everything as cancelled and gives all blocks up, whoever still reads or writes them.
  void Shutdown();

  LoadReport Load() const;
  // The earliest deadline of anything alive, or when Step() has something else to do; monotonic.
  absl::Duration next_deadline() const;
  size_t num_quarantined_epochs() const { return quarantine_.num_epochs(); }
  const Timeline& timeline() const { return timeline_; }
  const kv::BlockPool& pool() const { return pool_; }
  const kv::PrefixCache& prefix_cache() const { return cache_; }

 private:
  using PrefillKey = std::pair<SequenceId, uint64_t>;  // epoch
  using Deadline = std::tuple<absl::Duration, uint64_t, Sequence*>;

  // Commands.
  void OnSubmit(Submit submit, absl::Duration posted_at);
  void OnSubmitPrefill(SubmitPrefill submit, absl::Duration posted_at);
  void OnCancel(const SequenceId& id);
  void OnSendSnapshot();

  // The hand-over's two sides (engine_core_hand_over.cc).
  void OnKvArrived(KvArrived arrived);
  void OnKvFailed(const KvFailed& failed);
  void OnKvFenced(uint64_t epoch);
  void OnKvSent(const SequenceId& id, uint64_t epoch);
  Sequence* FindAwaiting(const SequenceId& id, uint64_t epoch);
  void BeginRemotePrefills(const StepPlan& plan);
  void GiveUpBlocks(Sequence& sequence);
  std::vector<KvReady> TakeReadyBlocks(const StepPlan& plan);
  void FinishPrefill(Sequence& sequence, absl::Status status, GeneratedToken first);
  void DropPrefill(Sequence& sequence);

  // A step that was begun: its tokens are not known yet.
  struct StepUnderWay {
    StepPlan plan;
    absl::Duration plan_time;
    absl::Duration copy_time;
  };

  // A step's stages (engine_core_step.cc).
  void ExpireDeadlines();
  void NoteAdmissions(const StepPlan& plan);
  void BeginStep(StepUnderWay step);
  bool MayStayUnderWay(const StepPlan& plan) const;
  void FinishStep();
  void FinishPart(const StepPlan::Part& part, GeneratedToken* picked);
  void CommitParts(const StepPlan& plan, std::span<GeneratedToken> scored);
  void TellScores(const StepPlan::Part& part, std::span<GeneratedToken>& scored);
  void AcceptToken(Sequence& sequence, int32_t position, GeneratedToken token);
  void NoteFirstToken(Sequence& sequence);
  void Record(const StepUnderWay& step, absl::Duration publish_time);

  // Lives and deaths.
  std::unique_ptr<Sequence> MakeSequence(SequenceSpec spec, absl::Duration posted_at);
  void Finish(Sequence& sequence, FinishReason reason, absl::Status status);
  void End(Sequence& sequence, FinishReason reason, absl::Status status);
  void DropEnded(Sequence& sequence);
  void ReleaseFollowers(const SequenceId& id);
  void LeaveQueue(Sequence& sequence);
  static WorkKey KeyOf(const Sequence& sequence);

  // What is told.
  SequenceOutput& OutputOf(Sequence& sequence);
  void Publish();
  void PublishKvEvents();

  const EngineOptions options_;
  const int32_t context_tokens_max_;
  model::ModelRunner& runner_;
  Observer& observer_;
  const Clock& clock_;
  AdmissionGate& gate_;
  KvMirror* const mirror_;

  kv::BlockPool pool_;
  kv::PrefixCache cache_;
  kv::BlockHasher hasher_;
  kv::BlockSpace space_;
  Quarantine quarantine_;
  StepExecutor executor_;
  Scheduler scheduler_;
  Timeline timeline_;

  uint64_t next_arrival_ = 1;
  absl::flat_hash_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  absl::flat_hash_map<PrefillKey, std::unique_ptr<Sequence>> prefills_;
  absl::flat_hash_map<SequenceId, std::vector<SequenceId>> followers_;  // leader -> who waits
  std::set<Deadline> deadlines_;
  std::deque<StepUnderWay> under_way_;            // in order; two at most
  std::vector<std::unique_ptr<Sequence>> ended_;  // and told so, with parts in steps under way

  // News of this step, and work that is over once it has been told.
  std::vector<SequenceOutput> outputs_;
  std::vector<WorkKey> left_;
  uint64_t kv_events_number_ = 0;
  LoadReport totals_;  // the counters only
};

}  // namespace baton::engine
