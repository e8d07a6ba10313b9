#include "bench/simulation/model_worker.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "common/base/check.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kReportInterval = absl::Milliseconds(100);
constexpr absl::Duration kReportIntervalWithNewWork = absl::Milliseconds(10);
// Of a prompt's KV, what is still to be sent when its last layer has been computed.
constexpr double kLastLayersShare = 0.1;

}  // namespace

ModelWorker::ModelWorker(EventQueue& queue, const WorkerSpec& spec, const Hops& hops, Find find)
    : queue_(queue), spec_(spec), hops_(hops), find_(std::move(find)) {
  ReportEvery(kReportInterval);
}

int ModelWorker::Join(router::Roster& roster) {
  CHECK(events_number_ == 0, "{} has begun", spec_.id);
  // Whoever hears that it has joined may open its link at once.
  routers_.push_back({.roster = &roster});
  auto stay = roster.Join(
      {.id = WorkerId(spec_.id),
       .role = spec_.decode ? router::WorkerRole::kDecode : router::WorkerRole::kPrefill,
       .model = "model",
       .fingerprint = "f",
       .grpc_address = spec_.id,
       .hash_salt = "f",
       .block_tokens = spec_.block_tokens,
       .num_blocks = spec_.num_blocks,
       .context_tokens_max = spec_.context_tokens_max,
       .vocab_size = 250,
       .heartbeat_ms = 500,
       .batch_sequences_max = spec_.batch_max,
       .waiting_sequences_max = 1024,
       .waiting_tokens_max = 1 << 22,
       .kv_bytes_per_token = spec_.kv_bytes_per_token,
       .step_tokens_max = spec_.step_tokens_max});
  CHECK_OK(stay.status());
  (void)roster.ApplyKvEvents(WorkerId(spec_.id), *stay, {.number = 1, .snapshot = true});
  roster.Report(WorkerId(spec_.id), *stay, {.engine = Load()});
  routers_.back().stay = *stay;
  return static_cast<int>(routers_.size()) - 1;
}

// ---- work comes and goes -----------------------------------------------------------------------

void ModelWorker::Submit(int router, const v1::SubmitSequences& submit) {
  for (const v1::Sequence& proto : submit.sequences()) {
    auto sequence = std::make_unique<Sequence>();
    sequence->router = router;
    sequence->request = proto.request_id();
    ModelWorker* prefill =
        submit.prefill().empty() ? nullptr : find_(submit.prefill(0).worker_id());
    (submit.has_local_wait_max_ms() ? sequence->spare : sequence->prefill) = prefill;
    sequence->local_wait_max_ms = submit.local_wait_max_ms();
    sequence->prompt = proto.prompt_size();
    sequence->max_tokens = proto.sampling().max_tokens();
    const std::vector<int32_t> tokens(proto.prompt().begin(), proto.prompt().end());
    sequence->hashes = kv::HashBlocks(tokens, spec_.block_tokens, "f");
    posted_.push_back(std::move(sequence));
  }
  Wake();
}

void ModelWorker::Cancel(const std::string& request) {
  const auto is_it = [&](const auto& sequence) { return sequence->request == request; };
  std::erase_if(posted_, is_it);
  std::erase_if(waiting_, is_it);
  std::erase_if(running_, is_it);
}

void ModelWorker::Drain() {
  for (const Router& router : routers_) router.roster->Drain(WorkerId(spec_.id), router.stay);
}

void ModelWorker::Leave() {
  gone_ = true;
  for (const Router& router : routers_) router.roster->Leave(WorkerId(spec_.id), router.stay);
}

void ModelWorker::ComputeFor(std::vector<kv::BlockHash> hashes, int32_t prompt, int32_t held,
                             std::function<void()> done) {
  auto sequence = std::make_unique<Sequence>();
  sequence->prompt = prompt;
  sequence->hashes = std::move(hashes);
  const double bytes =
      static_cast<double>(prompt - held) * static_cast<double>(spec_.kv_bytes_per_token);
  sequence->done = [this, it = sequence.get(), bytes, done = std::move(done)] {
    SendKv(*it, bytes, done);
  };
  posted_.push_back(std::move(sequence));
  Wake();
}

// Layer by layer, while it is computed; what the link cannot take by then comes after.
void ModelWorker::SendKv(const Sequence& sequence, double bytes, std::function<void()> done) {
  const absl::Duration now = queue_.Monotonic();
  const absl::Duration send = absl::Milliseconds(bytes / spec_.link_bytes_per_ms);
  link_free_ = std::max(link_free_, sequence.began) + send;
  link_free_ = std::max(link_free_, now + kLastLayersShare * send);
  kv_bytes_ += static_cast<uint64_t>(bytes);
  kv_seconds_ += absl::ToDoubleSeconds(send);
  queue_.After(link_free_ - now + hops_.handover + hops_.message, "kv arrived", std::move(done));
}

void ModelWorker::Arrive(const std::string& request) {
  for (auto& sequence : running_) {
    if (sequence->request != request || !sequence->awaiting) continue;
    sequence->awaiting = false;
    sequence->arrived = true;
    sequence->computed = sequence->prompt;
  }
  Wake();
}

// ---- a step ------------------------------------------------------------------------------------

void ModelWorker::Wake() {
  if (stepping_) return;
  stepping_ = true;
  queue_.After(absl::Microseconds(20), "step", [this] { Step(); });
}

// What a step will have done is done at its end.
void ModelWorker::Step() {
  TakePosted();
  TellArrived();
  const Plan plan = MakePlan();
  if (plan.parts == 0) {
    stepping_ = false;
    return ReportLoad(/*stepped=*/false);
  }
  ReportLoad(/*stepped=*/true);
  const engine::StepFit& fit = spec_.fit;
  const double ms = fit.base_ms + fit.per_prefill_token_ms * plan.prefill_tokens +
                    fit.per_decode_ms * plan.decodes +
                    fit.per_context_token_ms * static_cast<double>(plan.context_tokens);
  queue_.After(absl::Milliseconds(ms) + hops_.step_gap, "step done", [this, plan] {
    Finish(plan);
    Step();
  });
}

// Commands are taken once per step, as an engine takes them.
void ModelWorker::TakePosted() {
  if (posted_.empty()) return;
  std::move(posted_.begin(), posted_.end(), std::back_inserter(waiting_));
  posted_.clear();
  taken_since_report_ = true;
}

// First tokens that came with their KV do not wait for a step.
void ModelWorker::TellArrived() {
  std::vector<v1::DecodeEvent> events(routers_.size());
  for (auto& sequence : running_) {
    if (!sequence->arrived) continue;
    sequence->arrived = false;
    Store(sequence->hashes);
    Give(*sequence, events);
  }
  TellDeltas(std::move(events));
}

ModelWorker::Plan ModelWorker::MakePlan() {
  Plan plan;
  for (const auto& sequence : running_) sequence->in_step = 0;
  for (const auto& sequence : running_) {
    if (!sequence->awaiting && sequence->made > 0) AddPart(*sequence, 1, plan);
  }
  for (const auto& sequence : running_) {
    if (sequence->awaiting || sequence->made > 0) continue;
    AddPart(*sequence, std::min(TokensLeft(plan), sequence->prompt - sequence->computed), plan);
  }
  PlanAdmissions(plan);
  return plan;
}

void ModelWorker::PlanAdmissions(Plan& plan) {
  int64_t blocks = 0;  // taken, or kept for those that are passed
  int32_t awaiting = 0;
  int32_t passed = 0;
  double tokens_ahead = 0;
  for (const auto& sequence : running_) {
    blocks += BlocksOf(*sequence);
    awaiting += sequence->awaiting ? 1 : 0;
    if (!sequence->awaiting) tokens_ahead += sequence->prompt - sequence->computed;
  }
  while (passed < static_cast<int32_t>(waiting_.size())) {
    Sequence& next = *waiting_[passed];
    if (next.prefill == nullptr && next.spare != nullptr &&
        PrefillMs(tokens_ahead) > next.local_wait_max_ms) {
      next.prefill = next.spare;
    }
    const bool remote = next.prefill != nullptr;
    const int32_t running = static_cast<int32_t>(running_.size()) - awaiting;
    if (!remote) tokens_ahead += next.prompt;
    if (MayBePassed(next, plan, passed)) {
      ++passed;
      blocks += BlocksOf(next);
      continue;
    }
    if (!remote && TokensLeft(plan) == 0) return;
    if ((remote ? awaiting : running) >= spec_.batch_max) return;
    blocks += BlocksOf(next);
    if (blocks > spec_.num_blocks && !running_.empty()) return;
    running_.push_back(std::move(waiting_[passed]));
    waiting_.erase(waiting_.begin() + passed);
    Begin(next);
    awaiting += next.awaiting ? 1 : 0;
    if (!next.awaiting)
      AddPart(next, std::min(TokensLeft(plan), next.prompt - next.computed), plan);
  }
}

bool ModelWorker::MayBePassed(const Sequence& sequence, const Plan& plan, int32_t passed) const {
  constexpr int32_t kPassedMax = 16;
  return sequence.prefill == nullptr && TokensLeft(plan) == 0 && passed < kPassedMax &&
         static_cast<int32_t>(running_.size()) + passed + 1 < spec_.batch_max;
}

double ModelWorker::PrefillMs(double tokens) const {
  const double steps = std::ceil(tokens / spec_.step_tokens_max);
  return spec_.fit.base_ms * steps + spec_.fit.per_prefill_token_ms * tokens;
}

void ModelWorker::Begin(Sequence& sequence) {
  sequence.began = queue_.Monotonic();
  sequence.cached = std::min(Match(sequence.hashes), sequence.prompt - 1);
  sequence.computed = sequence.cached;
  prompt_tokens_ += sequence.prompt;
  cached_tokens_ += sequence.cached;
  const int32_t missing = sequence.prompt - sequence.cached;
  if (sequence.prefill == nullptr || (sequence.cached > 0 && missing <= spec_.block_tokens)) return;
  sequence.awaiting = true;
  queue_.After(
      hops_.message, "prefill",
      [this, prefill = sequence.prefill, hashes = sequence.hashes, prompt = sequence.prompt,
       held = sequence.cached, request = sequence.request]() mutable {
        prefill->ComputeFor(std::move(hashes), prompt, held, [this, request] { Arrive(request); });
      });
}

void ModelWorker::AddPart(Sequence& sequence, int32_t tokens, Plan& plan) const {
  if (tokens <= 0) return;
  sequence.in_step = tokens;
  ++plan.parts;
  plan.context_tokens += sequence.computed + std::max(sequence.made, tokens);
  (tokens == 1 ? plan.decodes : plan.prefill_tokens) += tokens;
}

int32_t ModelWorker::TokensLeft(const Plan& plan) const {
  return std::max(0, spec_.step_tokens_max - plan.decodes - plan.prefill_tokens);
}

int64_t ModelWorker::BlocksOf(const Sequence& sequence) const {
  return (sequence.prompt + sequence.max_tokens) / spec_.block_tokens + 1;
}

void ModelWorker::Finish(const Plan& plan) {
  std::vector<v1::DecodeEvent> events(routers_.size());
  for (auto& sequence : running_) {
    if (sequence->in_step == 0) continue;
    if (sequence->made == 0) sequence->computed += sequence->in_step;
    if (sequence->computed < sequence->prompt) continue;
    if (sequence->made == 0) Store(sequence->hashes);
    if (sequence->done) {
      sequence->done();
      sequence->made = sequence->max_tokens = 1;
    } else {
      Give(*sequence, events);
    }
  }
  TellDeltas(std::move(events));
}

// ---- news for the routers ----------------------------------------------------------------------

// Those that have all their tokens leave.
void ModelWorker::TellDeltas(std::vector<v1::DecodeEvent> events) {
  std::erase_if(running_, [](const auto& sequence) {
    return sequence->made > 0 && sequence->made >= sequence->max_tokens;
  });
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].deltas_size() == 0) continue;
    queue_.After(hops_.message, "deltas",
                 [this, i, event = std::move(events[i])] { routers_[i].tell(event); });
  }
}

void ModelWorker::Give(Sequence& sequence, std::vector<v1::DecodeEvent>& events) {
  ++sequence.made;
  v1::SequenceDelta& delta = *events[sequence.router].add_deltas();
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
  engine::KvEvents events;
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
  events.number = ++events_number_ + 1;  // the first was the snapshot
  queue_.After(hops_.message, "kv events", [this, events = std::move(events)] {
    for (const Router& router : routers_) {
      (void)router.roster->ApplyKvEvents(WorkerId(spec_.id), router.stay, events);
    }
  });
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
  for (const auto& sequence : waiting_) load.waiting_tokens += sequence->prompt;
  load.prompt_tokens = prompt_tokens_ - cached_tokens_;
  load.cached_tokens = cached_tokens_;
  load.blocks_total = spec_.num_blocks;
  load.blocks_active = static_cast<int32_t>(std::min<int64_t>(active, spec_.num_blocks));
  load.blocks_cached =
      std::min<int32_t>(static_cast<int32_t>(cache_.size()), spec_.num_blocks - load.blocks_active);
  load.blocks_free = spec_.num_blocks - load.blocks_active - load.blocks_cached;
  load.fit = spec_.fit;
  load.fit.samples = std::max<int64_t>(load.fit.samples, 1000);
  return load;
}

void ModelWorker::ReportEvery(absl::Duration period) {
  if (gone_) return;
  if (!stepping_) ReportLoad(/*stepped=*/false);
  queue_.After(period, "report", [this, period] { ReportEvery(period); });
}

void ModelWorker::ReportLoad(bool stepped) {
  const absl::Duration now = queue_.Monotonic();
  const bool is_idle = !stepped && sequences() == 0;
  const absl::Duration interval =
      taken_since_report_ ? kReportIntervalWithNewWork : kReportInterval;
  if (now - last_report_ < interval && (!is_idle || quiet_)) return;
  last_report_ = now;
  taken_since_report_ = false;
  quiet_ = is_idle;
  queue_.After(
      hops_.message, "load",
      [this, load = router::WorkerLoad{
                 .engine = Load(), .kv_bytes = kv_bytes_, .kv_busy_seconds = kv_seconds_}] {
        for (const Router& router : routers_) {
          router.roster->Report(WorkerId(spec_.id), router.stay, load);
        }
      });
}

}  // namespace baton::simulation
