#include "services/planner/watch/load_meter.h"

#include <algorithm>

namespace baton::planner {
namespace {

// So many requests have a mean that is worth something.
constexpr double kRequestsToTrust = 20;
// So many times between tokens do, too; each look moves the pace by a twentieth.
constexpr double kTokensToTrust = 50;
constexpr double kPaceStep = 0.05;
constexpr double kPaceMax = 3;

// A counter that is smaller than it was has begun again.
double Grown(double now, double before) { return now >= before ? now - before : now; }

// Each worker once, from the router that heard of it last.
std::map<std::string, WorkerSample> WorkersOf(const std::map<std::string, RouterSample>& routers) {
  std::map<std::string, WorkerSample> workers;
  for (const auto& [name, router] : routers) {
    for (const WorkerSample& worker : router.workers) {
      const auto [at, is_new] = workers.try_emplace(worker.id, worker);
      if (!is_new && worker.report_age_ms < at->second.report_age_ms) at->second = worker;
    }
  }
  return workers;
}

void AddFit(const engine::StepFit& fit, int32_t measured, engine::StepFit& mean) {
  const auto move = [&](double& value, double to) { value += (to - value) / measured; };
  move(mean.base_ms, fit.base_ms);
  move(mean.per_prefill_token_ms, fit.per_prefill_token_ms);
  move(mean.per_decode_ms, fit.per_decode_ms);
  move(mean.per_context_token_ms, fit.per_context_token_ms);
  mean.samples += fit.samples;
}

PoolState StateOf(Pool pool, const std::map<std::string, WorkerSample>& workers) {
  PoolState state;
  int32_t measured = 0;
  for (const auto& [id, worker] : workers) {
    if (worker.pool != pool) continue;
    state.workers += worker.ready ? 1 : 0;
    state.present += worker.draining ? 0 : 1;
    if (worker.fit.samples > 0) AddFit(worker.fit, ++measured, state.fit);
    state.waiting_tokens += worker.waiting_tokens;
    state.running += worker.running;
    state.waiting += worker.waiting;
    state.blocks_active += worker.blocks_active;
    state.blocks = std::max(state.blocks, worker.blocks);
    state.block_tokens = worker.block_tokens;
    state.batch_sequences_max = std::max(state.batch_sequences_max, worker.batch_sequences_max);
    state.step_tokens_max = std::max(state.step_tokens_max, worker.step_tokens_max);
  }
  return state;
}

// What a worker of this pool is like, from one that is.
void Learn(const PoolState& known, PoolState& state) {
  if (state.fit.samples == 0) state.fit = known.fit;
  if (state.blocks > 0) return;
  state.blocks = known.blocks;
  state.block_tokens = known.block_tokens;
  state.batch_sequences_max = known.batch_sequences_max;
  state.step_tokens_max = known.step_tokens_max;
}

}  // namespace

void LoadMeter::Growth::Add(const Growth& other) {
  requests += other.requests;
  arrived_tokens += other.arrived_tokens;
  completed += other.completed;
  completed_tokens += other.completed_tokens;
  found_tokens += other.found_tokens;
  output_tokens += other.output_tokens;
  without_worker += other.without_worker;
  itl_seconds += other.itl_seconds;
  itl_tokens += other.itl_tokens;
  prefill_computed += other.prefill_computed;
  prefill_found += other.prefill_found;
}

Picture LoadMeter::Look(const std::map<std::string, RouterSample>& routers, bool partial,
                        absl::Duration now) {
  const std::map<std::string, WorkerSample> workers = WorkersOf(routers);
  Growth growth = GrowthOf(routers);
  for (const auto& [id, worker] : workers) {
    const auto before = last_workers_.find(id);
    if (worker.pool != Pool::kPrefill || before == last_workers_.end()) continue;
    growth.prefill_computed += Grown(worker.computed_tokens, before->second.computed_tokens);
    growth.prefill_found += Grown(worker.cached_tokens, before->second.cached_tokens);
  }
  if (last_look_ > -absl::InfiniteDuration()) {
    growth.from = last_look_;
    growth.until = now;
    growths_.push_back(growth);
  }
  while (!growths_.empty() && growths_.front().until <= now - options_.steady) {
    growths_.pop_front();
  }
  last_look_ = now;
  last_workers_ = workers;
  for (const auto& [name, router] : routers) {
    last_[name] = router;
    last_[name].workers.clear();  // only counters are compared
  }

  Picture picture;
  picture.steady = TrafficOver(options_.steady, now);
  picture.recent = TrafficOver(options_.recent, now);
  picture.prefill = StateOf(Pool::kPrefill, workers);
  picture.decode = StateOf(Pool::kDecode, workers);
  Remember(picture.prefill, known_prefill_);
  Remember(picture.decode, known_decode_);
  for (PoolState* pool : {&picture.prefill, &picture.decode}) {
    const bool prefill = pool == &picture.prefill;
    Learn(prefill ? known_prefill_ : known_decode_, *pool);
    Learn(prefill ? known_decode_ : known_prefill_, *pool);  // of the same kind, as a rule
  }
  for (const auto& [name, router] : routers) {
    picture.queued_requests += router.queued_requests;
    picture.queued_tokens += router.queued_tokens;
  }
  picture.unserved = Over(options_.recent, now).without_worker > 0;
  NotePace(picture, growth);
  picture.pace = pace_;
  picture.partial = partial;
  return picture;
}

LoadMeter::Growth LoadMeter::GrowthOf(const std::map<std::string, RouterSample>& routers) {
  Growth all;
  for (const auto& [name, router] : routers) {
    const auto found = last_.find(name);
    if (found == last_.end()) continue;
    const RouterSample& before = found->second;
    const auto grown = [&](double RouterSample::* field) {
      return Grown(router.*field, before.*field);
    };
    all.Add({.requests = grown(&RouterSample::accepted),
             .arrived_tokens = grown(&RouterSample::accepted_prompt_tokens),
             .completed = grown(&RouterSample::completed),
             .completed_tokens = grown(&RouterSample::prompt_tokens),
             .found_tokens = grown(&RouterSample::cached_tokens),
             .output_tokens = grown(&RouterSample::completion_tokens),
             .without_worker = grown(&RouterSample::without_worker),
             .itl_seconds = grown(&RouterSample::itl_seconds),
             .itl_tokens = grown(&RouterSample::itl_tokens)});
  }
  return all;
}

LoadMeter::Growth LoadMeter::Over(absl::Duration window, absl::Duration now) const {
  Growth sum{.from = now, .until = now};
  for (auto growth = growths_.rbegin(); growth != growths_.rend(); ++growth) {
    if (growth->until <= now - window) break;
    sum.Add(*growth);
    sum.from = growth->from;
  }
  return sum;
}

Traffic LoadMeter::TrafficOver(absl::Duration window, absl::Duration now) {
  const Growth all = Over(window, now);
  const Growth longest = Over(options_.steady, now);
  const double seconds = absl::ToDoubleSeconds(all.until - all.from);
  const Growth& prompts = all.requests >= kRequestsToTrust ? all : longest;
  if (prompts.requests > 0) known_.prompt_tokens = prompts.arrived_tokens / prompts.requests;
  if (longest.completed > 0) known_.output_tokens = longest.output_tokens / longest.completed;
  const auto share = [](double found, double of) { return of > 0 ? std::min(found / of, 1.0) : 0; };
  if (longest.completed_tokens > 0) {
    known_.cached_share =
        std::max(share(longest.found_tokens, longest.completed_tokens),
                 share(longest.prefill_found, longest.prefill_found + longest.prefill_computed));
  }
  Traffic traffic = known_;
  traffic.requests_per_second = seconds > 0 ? all.requests / seconds : 0;
  return traffic;
}

void LoadMeter::Remember(const PoolState& now, PoolState& known) const {
  if (now.fit.samples > 0) known.fit = now.fit;
  if (now.blocks == 0) return;
  known.blocks = now.blocks;
  known.block_tokens = now.block_tokens;
  known.batch_sequences_max = now.batch_sequences_max;
  known.step_tokens_max = now.step_tokens_max;
}

// What routers see between tokens, over what the workers' fit says of such batches.
void LoadMeter::NotePace(const Picture& picture, const Growth& growth) {
  const PoolState& pool = picture.decode;
  if (growth.itl_tokens < kTokensToTrust || pool.workers == 0 || pool.fit.samples == 0) return;
  const int32_t elsewhere = picture.prefill.running + picture.prefill.waiting;
  const double batch = std::max(1.0, static_cast<double>(pool.running - elsewhere) / pool.workers);
  const double context = picture.recent.prompt_tokens + picture.recent.output_tokens / 2;
  const double modelled_ms =
      pool.fit.base_ms + batch * (pool.fit.per_decode_ms + pool.fit.per_context_token_ms * context);
  if (modelled_ms <= 0) return;
  const double measured_ms = growth.itl_seconds / growth.itl_tokens * 1e3;
  const double pace = std::clamp(measured_ms / modelled_ms, 1.0, kPaceMax);
  pace_ += kPaceStep * (pace - pace_);
}

}  // namespace baton::planner
