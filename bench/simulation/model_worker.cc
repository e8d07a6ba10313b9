#include "bench/simulation/model_worker.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "fmt/format.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kHop = absl::Microseconds(300);  // a message and a wake-up

}  // namespace

ModelWorker::ModelWorker(EventQueue& queue, router::Roster& roster, const WorkerSpec& spec,
                         bool decode, std::string id)
    : queue_(queue), roster_(roster), spec_(spec), decode_(decode), id_(std::move(id)) {
  auto stay =
      roster_.Join({.id = id_,
                    .role = decode ? router::WorkerRole::kDecode : router::WorkerRole::kPrefill,
                    .model = "model",
                    .fingerprint = "f",
                    .grpc_address = id_.value(),
                    .hash_salt = "f",
                    .block_tokens = spec.block_tokens,
                    .num_blocks = spec.num_blocks,
                    .context_tokens_max = 131'072,
                    .vocab_size = 250,
                    .heartbeat_ms = 500,
                    .batch_sequences_max = spec.batch_max,
                    .waiting_sequences_max = 1024,
                    .waiting_tokens_max = 1 << 22,
                    .kv_bytes_per_token = spec.kv_bytes_per_token,
                    .step_tokens_max = spec.step_tokens_max});
  CHECK_OK(stay.status());
  stay_ = *stay;
  (void)roster_.ApplyKvEvents(id_, stay_, {.number = ++events_number_, .snapshot = true});
  ReportEvery(absl::Milliseconds(100));
}

void ModelWorker::Submit(const v1::SubmitSequences& submit, const Find& find) {
  for (const v1::Sequence& proto : submit.sequences()) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = proto.request_id();
    sequence->prompt = proto.prompt_size();
    sequence->max_tokens = proto.sampling().max_tokens();
    sequence->began = queue_.Monotonic();
    const std::vector<int32_t> tokens(proto.prompt().begin(), proto.prompt().end());
    sequence->hashes = kv::HashBlocks(tokens, spec_.block_tokens, "f");
    sequence->cached = std::min(Match(sequence->hashes), sequence->prompt - 1);
    sequence->computed = sequence->cached;
    prompt_tokens_ += sequence->prompt;
    cached_tokens_ += sequence->cached;
    ModelWorker* prefill = submit.prefill().empty() ? nullptr : find(submit.prefill(0).worker_id());
    if (prefill != nullptr && sequence->prompt - sequence->cached > spec_.block_tokens) {
      sequence->awaiting = true;
      prefill->ComputeFor(sequence->hashes, sequence->prompt, sequence->cached,
                          [this, request = sequence->request] {
                            for (auto& it : running_) Arrive(request, *it);
                            for (auto& it : waiting_) Arrive(request, *it);
                            Wake();
                          });
    }
    waiting_.push_back(std::move(sequence));
  }
  Wake();
}

void ModelWorker::Arrive(const std::string& request, Sequence& sequence) {
  if (sequence.request != request) return;
  sequence.awaiting = false;
  sequence.computed = sequence.prompt;
}

void ModelWorker::Cancel(const std::string& request) {
  const auto is_it = [&](const auto& sequence) { return sequence->request == request; };
  std::erase_if(waiting_, is_it);
  std::erase_if(running_, is_it);
}

void ModelWorker::ComputeFor(std::vector<kv::BlockHash> hashes, int32_t prompt, int32_t held,
                             std::function<void()> done) {
  queue_.After(kHop, "prefill",
               [this, hashes = std::move(hashes), prompt, held, done = std::move(done)]() mutable {
                 auto sequence = std::make_unique<Sequence>();
                 sequence->prompt = prompt;
                 sequence->hashes = std::move(hashes);
                 sequence->cached = std::min(Match(sequence->hashes), prompt - 1);
                 sequence->computed = sequence->cached;
                 sequence->began = queue_.Monotonic();
                 prompt_tokens_ += prompt;
                 cached_tokens_ += sequence->cached;
                 const double bytes = static_cast<double>(prompt - held) * spec_.kv_bytes_per_token;
                 Sequence* it = sequence.get();
                 // Layer by layer, while it computes; what the link cannot take by then comes
                 // after.
                 sequence->done = [this, it, bytes, done = std::move(done)] {
                   const absl::Duration now = queue_.Monotonic();
                   const absl::Duration send = absl::Milliseconds(bytes / spec_.link_bytes_per_ms);
                   link_free_ = std::max(link_free_, it->began) + send;
                   kv_bytes_ += static_cast<uint64_t>(bytes);
                   kv_seconds_ += absl::ToDoubleSeconds(send);
                   queue_.After(std::max(link_free_ - now, absl::ZeroDuration()) + kHop,
                                "kv arrived", done);
                 };
                 waiting_.push_back(std::move(sequence));
                 Wake();
               });
}

void ModelWorker::Wake() {
  if (stepping_) return;
  stepping_ = true;
  queue_.After(absl::Microseconds(20), "step", [this] { Step(); });
}

void ModelWorker::Admit() {
  int64_t blocks = 0;
  for (const auto& sequence : running_) {
    blocks += (sequence->prompt + sequence->max_tokens) / spec_.block_tokens + 1;
  }
  while (!waiting_.empty() && static_cast<int32_t>(running_.size()) < spec_.batch_max) {
    const Sequence& next = *waiting_.front();
    blocks += (next.prompt + next.max_tokens) / spec_.block_tokens + 1;
    if (blocks > spec_.num_blocks && !running_.empty()) return;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

// What a step will have done is done at its end.
void ModelWorker::Step() {
  Admit();
  int32_t decodes = 0;
  int64_t context = 0;
  for (const auto& sequence : running_) {
    sequence->in_step = !sequence->awaiting;
    if (sequence->awaiting || sequence->made == 0) continue;
    ++decodes;
    context += sequence->prompt + sequence->made;
  }
  int32_t budget = std::max(0, spec_.step_tokens_max - decodes);
  int32_t chunk_tokens = 0;
  for (const auto& sequence : running_) {
    if (sequence->awaiting || sequence->made > 0 || budget == 0) continue;
    const int32_t take = std::min(budget, sequence->prompt - sequence->computed);
    sequence->computed += take;
    budget -= take;
    chunk_tokens += take;
  }
  const bool arrived = std::any_of(running_.begin(), running_.end(), [](const auto& sequence) {
    return !sequence->awaiting && sequence->made == 0 && sequence->computed == sequence->prompt;
  });
  if (decodes == 0 && chunk_tokens == 0 && !arrived) {
    stepping_ = false;
    return;
  }
  const engine::StepFit& fit = spec_.fit;
  const double ms = fit.base_ms + fit.per_prefill_token_ms * chunk_tokens +
                    fit.per_decode_ms * decodes +
                    fit.per_context_token_ms * static_cast<double>(context);
  queue_.After(absl::Milliseconds(ms), "step done", [this] {
    v1::DecodeEvent event;
    for (auto& sequence : running_) {
      if (!sequence->in_step || sequence->computed < sequence->prompt) continue;
      if (sequence->made == 0) FinishPrompt(*sequence);
      ++sequence->made;
      if (decode_) Give(*sequence, event);
    }
    std::erase_if(running_, [this](const auto& sequence) {
      return sequence->made > 0 && (!decode_ || sequence->made >= sequence->max_tokens);
    });
    if (event.deltas_size() > 0) {
      queue_.After(kHop, "deltas", [this, event = std::move(event)] { tell_(event); });
    }
    Step();
  });
}

void ModelWorker::FinishPrompt(Sequence& sequence) {
  Store(sequence.hashes);
  if (sequence.done) sequence.done();
}

void ModelWorker::Give(Sequence& sequence, v1::DecodeEvent& event) {
  v1::SequenceDelta& delta = *event.add_deltas();
  delta.set_request_id(sequence.request);
  delta.add_tokens()->set_token(65);
  if (sequence.made == 1) {
    delta.mutable_times()->set_prompt_tokens(sequence.prompt);
    delta.mutable_times()->set_cached_tokens(sequence.cached);
    delta.mutable_times()->set_prefill_ms(
        absl::ToDoubleMilliseconds(queue_.Monotonic() - sequence.began));
  }
  if (sequence.made >= sequence.max_tokens) delta.set_finish(v1::FINISH_REASON_LENGTH);
}

int32_t ModelWorker::Match(const std::vector<kv::BlockHash>& hashes) {
  int32_t blocks = 0;
  for (const kv::BlockHash& hash : hashes) {
    const auto found = by_hash_.find(hash.low);
    if (found == by_hash_.end()) break;
    cache_.splice(cache_.begin(), cache_, found->second);
    ++blocks;
  }
  return blocks * spec_.block_tokens;
}

void ModelWorker::Store(const std::vector<kv::BlockHash>& hashes) {
  engine::KvEvents events{.number = events_number_ + 1};
  kv::BlockHash parent;
  for (const kv::BlockHash& hash : hashes) {
    const auto found = by_hash_.find(hash.low);
    if (found != by_hash_.end()) {
      cache_.splice(cache_.begin(), cache_, found->second);
    } else {
      cache_.emplace_front(hash, parent);
      by_hash_[hash.low] = cache_.begin();
      events.stored.push_back({hash, parent});
    }
    parent = hash;
  }
  while (static_cast<int64_t>(cache_.size()) > spec_.num_blocks) {
    events.removed.push_back(cache_.back().first);
    by_hash_.erase(cache_.back().first.low);
    cache_.pop_back();
  }
  if (events.stored.empty() && events.removed.empty()) return;
  ++events_number_;
  (void)roster_.ApplyKvEvents(id_, stay_, events);
}

engine::LoadReport ModelWorker::Load() const {
  engine::LoadReport load;
  load.waiting = static_cast<int32_t>(waiting_.size());
  load.running = static_cast<int32_t>(running_.size());
  int64_t active = 0;
  for (const auto& sequence : running_) {
    active += (sequence->prompt + sequence->made) / spec_.block_tokens + 1;
    if (!sequence->awaiting) load.waiting_tokens += sequence->prompt - sequence->computed;
  }
  for (const auto& sequence : waiting_) {
    if (!sequence->awaiting) load.waiting_tokens += sequence->prompt - sequence->computed;
  }
  load.blocks_total = spec_.num_blocks;
  load.blocks_active = static_cast<int32_t>(std::min<int64_t>(active, spec_.num_blocks));
  load.blocks_cached =
      std::min<int32_t>(static_cast<int32_t>(cache_.size()), spec_.num_blocks - load.blocks_active);
  load.blocks_free = spec_.num_blocks - load.blocks_active - load.blocks_cached;
  load.fit = spec_.fit;
  load.fit.samples = 1000;
  return load;
}

void ModelWorker::ReportEvery(absl::Duration period) {
  roster_.Report(id_, stay_,
                 {.engine = Load(), .kv_bytes = kv_bytes_, .kv_busy_seconds = kv_seconds_});
  queue_.After(period, "report", [this, period] { ReportEvery(period); });
}

}  // namespace baton::simulation
