#include "services/planner/sizing/need.h"

#include <algorithm>
#include <cmath>

#include "fmt/format.h"

namespace baton::planner {
namespace {

// Nobody plans for a queue at more than this: near 1 a little more load makes it endless.
constexpr double kBusyMax = 0.85;
// The wait of nineteen in twenty over the mean wait, of waits that fall off exponentially.
constexpr double kLateOverMean = 3;
// A long prompt over the mean one.
constexpr double kLongOverMean = 2;
// Of the TTFT target: the rest is for tokenizing, the hand-over and the first step.
constexpr double kTtftShare = 0.8;
constexpr double kWaitShareMin = 0.1;
// Of a worker's blocks; the rest is for prompts on their way, and for what lengths vary.
constexpr double kKvShare = 0.9;

int32_t Sequences(const PoolState& pool) { return pool.running + pool.waiting; }

bool Asked(const Picture& picture, const Traffic& traffic) {
  return traffic.requests_per_second > 0 || picture.queued_requests > 0 || picture.unserved ||
         Sequences(picture.prefill) > 0 || Sequences(picture.decode) > 0 ||
         picture.prefill.waiting_tokens > 0 || picture.decode.waiting_tokens > 0;
}

int32_t Whole(double workers) {
  // What rounding made of a whole number is that number.
  return static_cast<int32_t>(std::ceil(std::clamp<double>(workers - 1e-9, 0, kWorkersMax)));
}

// Until a worker has measured itself there is nothing to reckon with: those that are there stay.
Need Unmeasured(const PoolState& pool) {
  return {std::max(1, pool.present), Cause::kWake,
          "requests came, and no worker has measured itself yet"};
}

// Seconds of one worker's time that a token of such prompts takes, in steps of so many tokens.
double SecondsPerToken(const PoolState& pool, double prompt, double step_tokens) {
  const double steps_of = std::clamp<double>(step_tokens, 1, std::max(pool.step_tokens_max, 1));
  // A step reads the context it adds to: half of the prompt on average.
  return (pool.fit.base_ms / steps_of + pool.fit.per_prefill_token_ms +
          pool.fit.per_context_token_ms * prompt / 2 / steps_of) /
         1e3;
}

// Mean wait for one of `servers` by Sakasegawa's approximation; `offered`: servers' worth of work.
double MeanWait(double offered, int32_t servers, double service) {
  const double busy = offered / servers;
  return service * std::pow(busy, std::sqrt(2.0 * (servers + 1)) - 1) / (servers * (1 - busy));
}

// The least number of servers with which waits stay within `patience`.
int32_t Servers(double offered, double service, double patience) {
  int32_t servers = std::max(1, Whole(offered / kBusyMax));
  while (servers < kWorkersMax && kLateOverMean * MeanWait(offered, servers, service) > patience) {
    ++servers;
  }
  return servers;
}

// What one decode worker holds within the targets.
struct Places {
  double by_itl = 0, by_kv = 0, by_batch = 0;
  double step_seconds = 0;  // with all of them taken
  double each() const { return std::max(1.0, std::min({by_itl, by_kv, by_batch})); }
};

Places PlacesOf(const Picture& picture, const Traffic& traffic, const Targets& targets) {
  const PoolState& pool = picture.decode;
  const double context = traffic.prompt_tokens + traffic.output_tokens / 2;
  const double one_ms =
      std::max(1e-6, pool.fit.per_decode_ms + pool.fit.per_context_token_ms * context);
  const double step_ms = absl::ToDoubleMilliseconds(targets.itl) / picture.pace;
  Places places;
  places.by_itl = (step_ms - pool.fit.base_ms) / one_ms;
  places.by_batch = pool.batch_sequences_max > 0 ? pool.batch_sequences_max : places.by_itl;
  places.by_kv = places.by_batch;
  if (pool.blocks > 0 && pool.block_tokens > 0) {
    const double tokens = kKvShare * pool.blocks * pool.block_tokens;
    places.by_kv = tokens / std::max(1.0, traffic.prompt_tokens + traffic.output_tokens);
  }
  places.step_seconds = picture.pace * (pool.fit.base_ms + places.each() * one_ms) / 1e3;
  return places;
}

void Raise(Need& need, double workers, Cause cause, const std::string& why) {
  if (Whole(workers) <= need.workers) return;
  need = {Whole(workers), cause, why};
}

}  // namespace

std::string_view NameOf(Cause cause) {
  switch (cause) {
    case Cause::kNothing:
      return "idle";
    case Cause::kWake:
      return "wake";
    case Cause::kArrivals:
      return "arrivals";
    case Cause::kQueue:
      return "queue";
    case Cause::kItl:
      return "itl";
    case Cause::kKv:
      return "kv";
  }
  return "";
}

Need PrefillNeed(const Picture& picture, const Traffic& traffic, const Targets& targets,
                 double margin) {
  const PoolState& pool = picture.prefill;
  if (!Asked(picture, traffic)) return {0, Cause::kNothing, "nobody asks for anything"};
  if (pool.fit.samples == 0) return Unmeasured(pool);
  const double computed = traffic.prompt_tokens * (1 - traffic.cached_share);
  const double service = computed * SecondsPerToken(pool, computed, computed);
  const double rate = traffic.requests_per_second * margin;
  const double ttft = absl::ToDoubleSeconds(targets.ttft);
  const double patience =
      std::max(kTtftShare * ttft - kLongOverMean * service, kWaitShareMin * ttft);
  Need need{Servers(rate * service, service, patience), Cause::kArrivals,
            fmt::format("{:.1f} prompts/s of {:.0f} tokens to compute, {:.0f} ms each, keep {:.1f} "
                        "workers busy; waits stay within {:.0f} ms",
                        rate, computed, service * 1e3, rate * service, patience * 1e3)};
  const double waiting = static_cast<double>(pool.waiting_tokens) +
                         static_cast<double>(picture.queued_tokens) * (1 - traffic.cached_share);
  // Those that wait fill whole steps.
  const double behind = waiting * SecondsPerToken(pool, computed, pool.step_tokens_max) * margin;
  const double catch_up = absl::ToDoubleSeconds(targets.catch_up);
  Raise(need, rate * service + behind / catch_up, Cause::kQueue,
        fmt::format("{:.0f} prompt tokens wait, {:.1f} s of one worker's work, to be gone in "
                    "{:.0f} s beside what arrives",
                    waiting, behind, catch_up));
  return need;
}

Need DecodeNeed(const Picture& picture, const Traffic& traffic, const Targets& targets,
                double margin) {
  const PoolState& pool = picture.decode;
  if (!Asked(picture, traffic)) return {0, Cause::kNothing, "nobody asks for anything"};
  if (pool.fit.samples == 0) return Unmeasured(pool);
  const Places places = PlacesOf(picture, traffic, targets);
  const double rate = traffic.requests_per_second * margin;
  double prefill = 0;  // workers' worth of prompts
  if (targets.prompts_on_decode) {
    const double computed = traffic.prompt_tokens * (1 - traffic.cached_share);
    prefill = rate * computed * SecondsPerToken(pool, computed, computed) / kBusyMax;
  }
  const double flying = rate * traffic.output_tokens * places.step_seconds;
  const Cause bound = places.by_kv < places.by_itl && places.by_kv < places.by_batch ? Cause::kKv
                      : places.by_itl < places.by_batch                              ? Cause::kItl
                                                        : Cause::kArrivals;
  Need need{1, Cause::kArrivals, "one worker holds all of it"};
  Raise(
      need, (flying + 2 * std::sqrt(flying)) / places.each() + prefill, bound,
      fmt::format("{:.0f} sequences in flight at {:.1f} ms a token; {:.0f} to a worker by ITL, "
                  "{:.0f} by KV, {:.0f} by its batch",
                  flying, places.step_seconds * 1e3, places.by_itl, places.by_kv, places.by_batch));
  // Those whose prompts are still being computed elsewhere take part in no step here.
  const double here = margin * std::max(0, pool.running - Sequences(picture.prefill));
  Raise(need, here / places.each() + prefill, bound,
        fmt::format("{:.0f} sequences run, {:.0f} to a worker", here, places.each()));
  // A place serves several of those that wait, one after the other, within the time to catch up.
  const double waiting = margin * static_cast<double>(pool.waiting + picture.queued_requests);
  const double catch_up = absl::ToDoubleSeconds(targets.catch_up);
  const double stay = traffic.output_tokens * places.step_seconds;
  const double share = stay > 0 ? std::min(stay / catch_up, 1.0) : 1;
  Raise(
      need, (flying + waiting * share) / places.each() + prefill, Cause::kQueue,
      fmt::format("{:.0f} sequences wait for a place, to have had one in {:.0f} s beside {:.0f} in "
                  "flight; {:.0f} to a worker",
                  waiting, catch_up, flying, places.each()));
  if (pool.blocks > 0) {
    Raise(need, margin * static_cast<double>(pool.blocks_active) / (kKvShare * pool.blocks),
          Cause::kKv,
          fmt::format("{} KV blocks are in use, {} to a worker", pool.blocks_active, pool.blocks));
  }
  return need;
}

}  // namespace baton::planner
