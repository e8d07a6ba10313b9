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
  engine::StepFit fit;
  int32_t batch_max = 64;
  int32_t step_tokens_max = 2048;
  int32_t block_tokens = 16;
  int32_t num_blocks = 24'000;
  int64_t kv_bytes_per_token = 131'072;
  double link_bytes_per_ms = 2e7;  // 20 GB/s
};

// A worker without an engine: time passes as its StepFit says, and tokens are made up. Reports its
// load and its cache to the roster as a real one does.
class ModelWorker {
 public:
  ModelWorker(EventQueue& queue, router::Roster& roster, const WorkerSpec& spec, bool decode,
              std::string id);

  // The router's end. Prefill workers are looked up by id.
  using Find = std::function<ModelWorker*(const std::string& id)>;
  void Submit(const v1::SubmitSequences& submit, const Find& find);
  void Cancel(const std::string& request);
  void set_link(std::function<void(const v1::DecodeEvent&)> tell) { tell_ = std::move(tell); }

  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t cached_tokens() const { return cached_tokens_; }

 private:
  struct Sequence {
    std::string request;
    int32_t prompt = 0;
    int32_t max_tokens = 0;
    int32_t made = 0;
    int32_t cached = 0;
    int32_t computed = 0;  // of the prompt
    bool awaiting = false;
    bool in_step = false;
    std::vector<kv::BlockHash> hashes;
    std::function<void()> done;  // of a prompt for somebody else
    absl::Duration began;
  };
  using Cache = std::list<std::pair<kv::BlockHash, kv::BlockHash>>;  // newest first, with parent

  void ComputeFor(std::vector<kv::BlockHash> hashes, int32_t prompt, int32_t held,
                  std::function<void()> done);
  static void Arrive(const std::string& request, Sequence& sequence);
  void Wake();
  void Step();
  void Admit();
  void FinishPrompt(Sequence& sequence);
  void Give(Sequence& sequence, v1::DecodeEvent& event);
  int32_t Match(const std::vector<kv::BlockHash>& hashes);
  void Store(const std::vector<kv::BlockHash>& hashes);
  void ReportEvery(absl::Duration period);
  engine::LoadReport Load() const;

  EventQueue& queue_;
  router::Roster& roster_;
  const WorkerSpec spec_;
  const bool decode_;
  const WorkerId id_;
  router::Roster::Stay stay_ = 0;
  std::function<void(const v1::DecodeEvent&)> tell_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;
  bool stepping_ = false;
  Cache cache_;
  std::unordered_map<uint64_t, Cache::iterator> by_hash_;
  uint64_t events_number_ = 0;
  absl::Duration link_free_;
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
  uint64_t kv_bytes_ = 0;
  double kv_seconds_ = 0;
};

}  // namespace baton::simulation
