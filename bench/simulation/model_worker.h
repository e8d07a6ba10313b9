#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/testing/event_queue.h"
#include "common/engine/observer.h"
#include "services/router/dispatch/decode_link.h"
#include "services/router/membership/roster.h"

namespace baton::simulation {

// A worker as the cost model sees one: steps of so many milliseconds, a batch, a prefix cache.
struct WorkerSpec {
  std::string id;
  bool decode = true;  // else: prefill
  engine::StepFit fit;
  int32_t batch_max = 64;
  int32_t step_tokens_max = 2048;
  int32_t block_tokens = 16;
  int32_t num_blocks = 24'000;
  int32_t context_tokens_max = 131'072;
  int64_t kv_bytes_per_token = 131'072;
  double link_bytes_per_ms = 2e7;  // 20 GB/s
};

// What a step's fit leaves out.
struct Hops {
  absl::Duration message = absl::Microseconds(300);  // one way, with the wake-up at its end
  absl::Duration step_gap;  // from the end of a step's computation to the beginning of the next
  absl::Duration handover;  // of a remote prefill, beyond messages, computing and sending
};

// A worker without an engine: time passes as its StepFit says, and tokens are made up. It plans its
// steps in the engine's order and reports load and cache to every router as a real one does: every
// 100 ms, 10 ms after new work, and when it goes idle.
class ModelWorker {
 public:
  // Prefill workers are looked up by id.
  using Find = std::function<ModelWorker*(const std::string& id)>;
  using Tell = std::function<void(const v1::DecodeEvent&)>;

  ModelWorker(EventQueue& queue, const WorkerSpec& spec, const Hops& hops, Find find);

  // Registers with one more router, which has the number that is returned.
  int Join(router::Roster& roster);
  // The stream to a router.
  void set_link(int router, Tell tell) { routers_[router].tell = std::move(tell); }
  void Submit(int router, const v1::SubmitSequences& submit);
  void Cancel(const std::string& request);
  // Wants no new work, as after SIGTERM; whether it still has some says sequences().
  void Drain();
  // Is gone: says nothing any more. Others may still hold on to it.
  void Leave();

  const std::string& id() const { return spec_.id; }
  bool decode() const { return spec_.decode; }
  int32_t sequences() const {
    return static_cast<int32_t>(posted_.size() + waiting_.size() + running_.size());
  }
  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t cached_tokens() const { return cached_tokens_; }

 private:
  struct Router {
    router::Roster* roster = nullptr;
    router::Roster::Stay stay = 0;
    Tell tell;
  };
  struct Sequence {
    int router = 0;
    std::string request;
    ModelWorker* prefill = nullptr;  // null: its prompt is computed here
    ModelWorker* spare = nullptr;    // who else would, if it had to wait longer than this here
    double local_wait_max_ms = 0;
    int32_t prompt = 0;
    int32_t max_tokens = 0;
    int32_t made = 0;
    int32_t cached = 0;
    int32_t computed = 0;  // of the prompt
    bool awaiting = false;
    bool arrived = false;  // its first token has come with its KV and is not told yet
    int32_t in_step = 0;   // tokens of it that the step under way computes
    std::vector<kv::BlockHash> hashes;
    std::function<void()> done;  // of a prompt for somebody else
    absl::Duration began;
  };
  struct Plan {
    int32_t parts = 0;
    int32_t decodes = 0;
    int32_t prefill_tokens = 0;
    int64_t context_tokens = 0;
  };
  using Sequences = std::deque<std::unique_ptr<Sequence>>;
  using Cache = std::list<std::pair<kv::BlockHash, kv::BlockHash>>;  // newest first, with parent

  void ComputeFor(std::vector<kv::BlockHash> hashes, int32_t prompt, int32_t held,
                  std::function<void()> done);
  void SendKv(const Sequence& sequence, double bytes, std::function<void()> done);
  void Arrive(const std::string& request);
  void Wake();
  void Step();
  Plan MakePlan();
  void PlanAdmissions(Plan& plan);
  bool MayBePassed(const Sequence& sequence, const Plan& plan, int32_t passed) const;
  double PrefillMs(double tokens) const;
  void Begin(Sequence& sequence);
  void AddPart(Sequence& sequence, int32_t tokens, Plan& plan) const;
  int32_t TokensLeft(const Plan& plan) const;
  int64_t BlocksOf(const Sequence& sequence) const;
  void TakePosted();
  void TellArrived();
  void Finish(const Plan& plan);
  void TellDeltas(std::vector<v1::DecodeEvent> events);
  void Give(Sequence& sequence, std::vector<v1::DecodeEvent>& events);
  int32_t Match(const std::vector<kv::BlockHash>& hashes);
  void Store(const std::vector<kv::BlockHash>& hashes);
  engine::LoadReport Load() const;
  void ReportEvery(absl::Duration period);
  void ReportLoad(bool stepped);

  EventQueue& queue_;
  const WorkerSpec spec_;
  const Hops hops_;
  const Find find_;
  std::vector<Router> routers_;
  Sequences posted_;  // not taken yet: the engine is in a step
  Sequences waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;  // and awaiting their KV
  bool stepping_ = false;
  Cache cache_;
  std::unordered_map<uint64_t, Cache::iterator> by_hash_;
  uint64_t events_number_ = 0;
  absl::Duration link_free_;
  absl::Duration last_report_;
  bool taken_since_report_ = false;
  bool quiet_ = true;
  bool gone_ = false;
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  uint64_t kv_bytes_ = 0;
  double kv_seconds_ = 0;
};

}  // namespace baton::simulation
