#include "services/planner/sizing/planner.h"

#include <algorithm>

#include "fmt/format.h"

namespace baton::planner {
namespace {

// Of a pool, what leaves at a time: a quarter at most, and one at least. Load that went may come
// back.
constexpr int32_t kShrinkParts = 4;

// The larger of what the last seconds and the last minute ask for.
template <typename NeedOf>
Need Larger(NeedOf&& need_of, const Picture& picture) {
  Need recent = need_of(picture.recent);
  Need steady = need_of(picture.steady);
  return steady.workers > recent.workers ? steady : recent;
}

// Of what it needs; who needs nothing lacks nothing.
double Share(int32_t has, int32_t needs) {
  return needs <= 0 ? 1e9 : static_cast<double>(has) / needs;
}

}  // namespace

std::string_view NameOf(Holder holder) {
  switch (holder) {
    case Holder::kNeed:
      return "need";
    case Holder::kMin:
      return "min";
    case Holder::kMax:
      return "max";
    case Holder::kBudget:
      return "budget";
    case Holder::kCoolDown:
      return "cool_down";
    case Holder::kPartial:
      return "partial";
  }
  return "";
}

std::string_view PoolPlan::reason() const {
  return holder == Holder::kNeed ? NameOf(need.cause) : NameOf(holder);
}

std::string PoolPlan::text() const {
  const std::string needs = fmt::format("{} needed: {}", need.workers, need.why);
  switch (holder) {
    case Holder::kNeed:
      return needs;
    case Holder::kMin:
      return fmt::format("the least that is allowed; {}", needs);
    case Holder::kMax:
      return fmt::format("the most that are allowed; {}", needs);
    case Holder::kBudget:
      return fmt::format("the budget has no GPUs for more; {}", needs);
    case Holder::kCoolDown:
      return fmt::format("kept until the cool-down is over; {}", needs);
    case Holder::kPartial:
      return fmt::format("kept while a router does not answer; {}", needs);
  }
  return needs;
}

// ---- one pool ----------------------------------------------------------------------------------

void PoolKeeper::Begin(int32_t workers, absl::Duration now) {
  size_ = std::clamp(workers, bounds_.min, bounds_.max);
  changed_ = now;
}

PoolKeeper::Wish PoolKeeper::Advise(int32_t need, int32_t kept, bool may_shrink,
                                    absl::Duration now) {
  // What cannot be known now, counts as if all were needed.
  const Past latest{now, may_shrink ? kept : std::max(kept, size_)};
  while (!past_.empty() && past_.back().kept <= latest.kept) past_.pop_back();
  past_.push_back(latest);
  while (past_.front().at < now - options_.cool_down) past_.pop_front();
  if (need > size_) {
    const bool asleep = size_ == 0;
    if (!asleep && now - grown_ < options_.cool_down_up) return {size_, Holder::kCoolDown};
    return {need, Holder::kNeed};
  }
  if (!may_shrink && kept < size_) return {size_, Holder::kPartial};
  const int32_t least = size_ - std::max(1, size_ / kShrinkParts);
  const int32_t target = std::clamp(past_.front().kept, least, size_);
  if (target < size_ && now - changed_ >= options_.cool_down) return {target, Holder::kNeed};
  return {size_, kept < size_ ? Holder::kCoolDown : Holder::kNeed};
}

void PoolKeeper::Settle(int32_t workers, absl::Duration now) {
  if (workers == size_) return;
  if (workers > size_) grown_ = now;
  changed_ = now;
  size_ = workers;
}

// ---- both --------------------------------------------------------------------------------------

Planner::Planner(const PlanOptions& options)
    : options_(options), prefill_(options_.prefill, options_), decode_(options_.decode, options_) {}

Plan Planner::Next(const Picture& picture, absl::Duration now) {
  Targets targets = options_.targets;
  targets.prompts_on_decode = options_.prefill.max == 0;
  const auto prefill_need = [&](double margin) {
    return Larger(
        [&](const Traffic& traffic) { return PrefillNeed(picture, traffic, targets, margin); },
        picture);
  };
  const auto decode_need = [&](double margin) {
    return Larger(
        [&](const Traffic& traffic) { return DecodeNeed(picture, traffic, targets, margin); },
        picture);
  };
  Side prefill{options_.prefill, prefill_, {.need = prefill_need(1)}};
  Side decode{options_.decode, decode_, {.need = decode_need(1)}};
  Want(prefill, prefill_need(options_.margin));
  Want(decode, decode_need(options_.margin));
  if (!prefill_.begun()) {
    prefill_.Begin(picture.prefill.present, now);
    decode_.Begin(picture.decode.present, now);
  }
  FitNeeds(prefill, decode);
  Advise(prefill, !picture.partial, now);
  Advise(decode, !picture.partial, now);
  GrowWithin(prefill, decode);
  prefill_.Settle(prefill.plan.desired, now);
  decode_.Settle(decode.plan.desired, now);
  return {std::move(prefill.plan), std::move(decode.plan)};
}

// Within the bounds.
void Planner::Want(Side& side, const Need& kept) {
  const Bounds& bounds = side.bounds;
  side.wanted = std::clamp(side.plan.need.workers, bounds.min, bounds.max);
  side.kept = std::clamp(std::max(kept.workers, side.plan.need.workers), bounds.min, bounds.max);
}

// Within the budget: from the minimums on, whoever has the smaller share gets the next worker.
void Planner::FitNeeds(Side& one, Side& other) const {
  if (options_.budget_gpus == 0) return;
  const auto fit = [&](int32_t Side::* field) {
    int32_t has = one.bounds.min, has_other = other.bounds.min;
    while (true) {
      const int32_t left = options_.budget_gpus - Cost(one, has) - Cost(other, has_other);
      const bool may = has < one.*field && one.bounds.gpus <= left;
      const bool other_may = has_other < other.*field && other.bounds.gpus <= left;
      if (!may && !other_may) break;
      const bool first = Share(has, one.*field) <= Share(has_other, other.*field);
      ++(may && (first || !other_may) ? has : has_other);
    }
    one.*field = has;
    other.*field = has_other;
  };
  fit(&Side::wanted);
  fit(&Side::kept);
  // Two divisions of one budget: neither pool keeps less than it is to have.
  one.kept = std::max(one.kept, one.wanted);
  other.kept = std::max(other.kept, other.wanted);
}

void Planner::Advise(Side& side, bool may_shrink, absl::Duration now) const {
  const PoolKeeper::Wish wish = side.keeper.Advise(side.wanted, side.kept, may_shrink, now);
  side.plan.desired = wish.workers;
  side.plan.holder = wish.holder;
  if (wish.holder != Holder::kNeed) return;
  const int32_t need = side.plan.need.workers;
  if (need < side.bounds.min) side.plan.holder = Holder::kMin;
  if (need > side.bounds.max) side.plan.holder = Holder::kMax;
  if (side.wanted < std::clamp(need, side.bounds.min, side.bounds.max)) {
    side.plan.holder = Holder::kBudget;
  }
}

// What one pool still keeps, the other cannot have.
void Planner::GrowWithin(Side& one, Side& other) const {
  if (options_.budget_gpus == 0) return;
  const auto floor = [](const Side& side) {
    return std::min(side.keeper.size(), side.plan.desired);
  };
  int32_t has = floor(one), has_other = floor(other);
  // As it was found, it may have more than the budget: the minimums are within it.
  while (Cost(one, has) + Cost(other, has_other) > options_.budget_gpus) {
    const bool first =
        has > one.bounds.min &&
        (has_other <= other.bounds.min || Share(has, one.wanted) >= Share(has_other, other.wanted));
    --(first ? has : has_other);
  }
  while (true) {
    const int32_t left = options_.budget_gpus - Cost(one, has) - Cost(other, has_other);
    const bool may = has < one.plan.desired && one.bounds.gpus <= left;
    const bool other_may = has_other < other.plan.desired && other.bounds.gpus <= left;
    if (!may && !other_may) break;
    const bool first = Share(has, one.wanted) <= Share(has_other, other.wanted);
    ++(may && (first || !other_may) ? has : has_other);
  }
  for (const auto& [side, workers] : {std::pair(&one, has), std::pair(&other, has_other)}) {
    if (workers < side->plan.desired) side->plan.holder = Holder::kBudget;
    side->plan.desired = workers;
  }
}

}  // namespace baton::planner
