#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "services/router/membership/circuit_breaker.h"
#include "services/router/membership/pace_watch.h"
#include "services/router/placement/kv_index/kv_index.h"
#include "services/router/placement/policy.h"
#include "services/router/placement/room.h"

namespace baton::router {

// Told of comings and goings, outside the roster's lock, on the thread that brought the news.
class RosterListener {
 public:
  virtual ~RosterListener() = default;
  virtual void OnJoined(const WorkerProfile& profile) = 0;
  virtual void OnLeft(const WorkerProfile& profile) = 0;
  // Its engine hangs. It stays, without new work, and may recover.
  virtual void OnStalled(const WorkerProfile& profile) = 0;
  // It wants to leave: no new work for it, and what runs there may be moved.
  virtual void OnDraining(const WorkerProfile& profile) = 0;
  // It has become `factor` times slower than its equals: no new work for it for a while. Or it has
  // shown on trial that it is as fast as they are.
  virtual void OnSlow(const WorkerProfile& profile, double factor) {}
  virtual void OnFastAgain(const WorkerProfile& profile) {}
  // A load report has come: there may be room.
  virtual void OnReported() {}
};

// What the router knows of a served model through its decode workers.
struct ModelFacts {
  std::string name;
  int32_t context_tokens_max = 0;  // the smallest of the workers'
  int32_t vocab_size = 0;
  std::vector<int32_t> eos_token_ids;
  int32_t block_tokens = 16;  // of the prefix hashes
  std::string hash_salt;
  absl::Time since;    // first worker seen
  bool ready = false;  // a decode worker can take a request now
};

// Everyone who is attached, with load and prefix cache: the router's whole picture of the cluster.
// Soft state, filled by the workers' streams. Thread-safe; one lock, held for lookups and copies.
// The KV index beside it has a lock of its own for events and none for look-ups.
class Roster {
 public:
  struct Options {
    int reports_missed_max = 3;  // heartbeats; then a worker is suspect and gets no new work
    // Then what runs there goes on elsewhere: later, since that costs something, and a machine that
    // is merely busy may miss a few.
    int reports_missed_to_leave = 6;
    // Work placed at most so long before a report arrived is not in it yet.
    absl::Duration report_lag = absl::Milliseconds(12);
    CircuitBreaker::Options breaker;
    PaceWatch::Options pace;
    uint64_t seed = 0;  // of the breakers' jitter: another one for each router
  };
  Roster(const Options& options, const Clock& clock) : options_(options), clock_(clock) {}
  // Before the first Join. Borrowed; may be null.
  void set_listener(RosterListener* listener) { listener_ = listener; }

  // Names one stay in a roster, uniquely in this process: news of an earlier stay of the same
  // worker is ignored.
  using Stay = uint64_t;
  // INVALID_ARGUMENT names the field that is missing or out of range. A worker that is here already
  // under this id (its old stream is broken, but nobody noticed yet) is replaced.
  absl::StatusOr<Stay> Join(WorkerProfile profile);
  void Leave(const WorkerId& id, Stay stay);
  void Report(const WorkerId& id, Stay stay, const WorkerLoad& load);
  KvIndex::Outcome ApplyKvEvents(const WorkerId& id, Stay stay, const engine::KvEvents& events);
  void Drain(const WorkerId& id, Stay stay);
  // The dispatcher's stream to a decode worker stands, or does not.
  void SetReachable(const WorkerId& id, bool reachable);

  // Absent when no decode worker serves it.
  std::optional<ModelFacts> Facts(std::string_view model) const;
  // The same, or else those of the last decode worker of `model` that there was.
  std::optional<ModelFacts> LatestFacts(std::string_view model) const;
  // There has been a decode worker, of whatever model.
  bool has_served() const;
  std::vector<ModelFacts> Models() const;
  // For how long no decode worker of `model` has been able to take work: zero while one is,
  // infinite when there has been none. A moment, up to a heartbeat, may be missing.
  absl::Duration UnservedFor(std::string_view model) const;
  // Workers of `model` that may take work, without `excluded`. `prompt`: its block hashes.
  // In order of their ids.
  PlacementSnapshot SnapshotFor(std::string_view model, std::span<const kv::BlockHash> prompt,
                                std::span<const WorkerId> excluded) const;
  // Into one that was filled before: copies only what may have changed since.
  void SnapshotFor(std::string_view model, std::span<const kv::BlockHash> prompt,
                   std::span<const WorkerId> excluded, PlacementSnapshot& snapshot) const;
  // This prompt will be computed by this worker: until its events say so, look-ups expect it there.
  void Expect(const WorkerId& id, std::span<const kv::BlockHash> prompt);
  // Upkeep of the index. Called by the control thread every few tens of milliseconds.
  void Tidy();
  KvIndex::Counters index_counters() const { return index_.counters(); }
  // So much is on its way to this worker.
  void AddPlaced(const WorkerId& id, const Demand& demand);
  // The same for a decode worker, which holds the sequences until Free(). With
  // `batch_ahead_percent`: only if they find places there (HasPlaces); false: they did not, and
  // nothing has changed.
  bool TryPlace(const WorkerId& id, const Demand& demand,
                std::optional<int32_t> batch_ahead_percent);
  // Sequences that were placed there have ended, or left. Outlives the worker's stays.
  void Free(const WorkerId& id, int32_t sequences);
  // Of all decode workers of `model` that may take work: is there one with places?
  enum class Places : uint8_t { kNoWorker, kNone, kSome };
  Places PlacesFor(std::string_view model, int32_t sequences, int32_t batch_ahead_percent) const;
  // Work on it went well, or it failed, `weight` times at once: see CircuitBreaker. True: it gets
  // work again from now on, or none for a while. While every decode worker of a model is out, all
  // of them are asked.
  bool NoteSuccess(const WorkerId& id);
  bool NoteFailure(const WorkerId& id, int weight);
  // The first token of a prompt that this worker computed was expected after `expected` and came
  // after `actual`: what is expected of it from now on is a little different.
  void NoteTtft(const WorkerId& id, absl::Duration expected, absl::Duration actual);
  std::string AddressOf(const WorkerId& id) const;  // empty: gone
  // False also when it is gone.
  bool IsDraining(const WorkerId& id) const;
  // Decode workers on which nothing should go on although it could: not heard of for too long, or
  // become slow. Only those whose model another one serves that may take work.
  struct Ailing {
    std::vector<WorkerId> silent;
    std::vector<WorkerId> slow;
  };
  Ailing FindAiling() const;
  // The worker of this id, or of this name (an id without what follows its '@'). NOT_FOUND names
  // those that are here, INVALID_ARGUMENT those that share the name.
  absl::StatusOr<WorkerId> Named(std::string_view name) const;
  // What it registered with; nothing: gone.
  std::optional<WorkerProfile> ProfileOf(const WorkerId& id) const;

  struct Entry {
    WorkerState state;
    bool reachable = false;
    bool draining = false;
    bool suspect = false;
    bool ejected = false;  // it failed, and has not proved itself since
    absl::Duration report_age;
    size_t indexed_blocks = 0;
  };
  std::vector<Entry> List() const;  // by worker id

 private:
  struct Placed {
    absl::Duration at;
    int32_t sequences = 0;
    int64_t tokens = 0;
    int32_t blocks = 0;
  };
  struct Worker {
    WorkerProfile profile;
    Stay stay = 0;
    KvSeat seat;
    WorkerLoad load;
    absl::Duration last_report;
    bool reachable = false;
    bool draining = false;
    std::deque<Placed> placed;
    int32_t held = 0;           // placed and not freed
    int32_t others = 0;         // beyond these, in the last two reports
    int32_t others_before = 0;  // in the one before the next
    CircuitBreaker breaker{{}, 0};
    PaceWatch pace{WorkerRole::kDecode};
    double ttft_factor = 1;
  };
  Worker* Find(const WorkerId& id, Stay stay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AnotherIsWell(std::string_view model, absl::Duration now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static bool Missed(const Worker& worker, int reports, absl::Duration now);
  bool Suspect(const Worker& worker, absl::Duration now) const;
  bool MayTakeWork(const Worker& worker, absl::Duration now) const;
  // The workers that may take work, without those that have failed when `heed_breakers`.
  void Fill(std::string_view model, std::span<const WorkerId> excluded, const KvMatches& matches,
            bool heed_breakers, PlacementSnapshot& snapshot) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<engine::StepFit> FitsOfEquals(const Worker& worker) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Put(Worker& worker, const Demand& demand) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Into one that may have been filled from the same worker before.
  static void FillState(const Worker& worker, WorkerState& state);
  void MergeFacts(const Worker& worker, absl::Duration now, ModelFacts& facts) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const Clock& clock_;
  RosterListener* listener_ = nullptr;

  mutable absl::Mutex mutex_;
  std::map<WorkerId, Worker> workers_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, absl::Time> models_since_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, ModelFacts, std::less<>> latest_facts_ ABSL_GUARDED_BY(mutex_);
  // By model: when a decode worker was last seen that could take work, or came. Monotonic.
  std::map<std::string, absl::Duration, std::less<>> served_at_ ABSL_GUARDED_BY(mutex_);
  // Held on workers that are not here: their streams may still stand, and they may come back.
  absl::flat_hash_map<WorkerId, int32_t> held_elsewhere_ ABSL_GUARDED_BY(mutex_);
  KvIndex index_;
};

}  // namespace baton::router
