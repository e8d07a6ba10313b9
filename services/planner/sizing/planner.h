#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "services/planner/sizing/need.h"

namespace baton::planner {

// How far one pool may go.
struct Bounds {
  int32_t min = 1;  // 0: it may sleep
  int32_t max = 4;
  int32_t gpus = 1;  // of one worker; what the budget counts
};

// Each minimum is at most its maximum, and the budget has room for both: whoever reads options
// checks it.
struct PlanOptions {
  Targets targets;
  Bounds prefill;
  Bounds decode;
  int32_t budget_gpus = 0;  // of both pools together; 0: their bounds are all
  // A pool shrinks only to what would serve so much more traffic.
  double margin = 1.15;
  // From one growth of a pool to the next; sleep's end does not wait.
  absl::Duration cool_down_up = absl::Seconds(5);
  // A pool shrinks to the most it has needed for so long, by a quarter at a time, and not before it
  // has been as large, or as small, for so long.
  absl::Duration cool_down = absl::Minutes(5);
};

// Why a pool has the size it has: what it needs, or what keeps it from that.
enum class Holder : uint8_t { kNeed, kMin, kMax, kBudget, kCoolDown, kPartial };
std::string_view NameOf(Holder holder);

struct PoolPlan {
  int32_t desired = 0;  // workers there should be
  Need need;            // before bounds and budget
  Holder holder = Holder::kNeed;
  // "arrivals", "queue", …, or what holds it: one word of few, for a label.
  std::string_view reason() const;
  // A sentence.
  std::string text() const;
};

struct Plan {
  PoolPlan prefill;
  PoolPlan decode;
  const PoolPlan& of(Pool pool) const { return pool == Pool::kPrefill ? prefill : decode; }
};

// One pool's size over time. Grows to what is needed after a short cool-down, shrinks to the most
// that has been needed for the whole of a long one.
class PoolKeeper {
 public:
  PoolKeeper(const Bounds& bounds, const PlanOptions& options)
      : bounds_(bounds), options_(options) {}

  struct Wish {
    int32_t workers = 0;
    Holder holder = Holder::kNeed;
  };
  // `need`: now; `kept`: what it may shrink to, at least `need`. Both within the bounds.
  Wish Advise(int32_t need, int32_t kept, bool may_shrink, absl::Duration now);
  // What became of the wish.
  void Settle(int32_t workers, absl::Duration now);
  // The pool as it was found, before the first plan.
  void Begin(int32_t workers, absl::Duration now);
  bool begun() const { return size_ >= 0; }
  int32_t size() const { return size_; }

 private:
  const Bounds bounds_;
  const PlanOptions& options_;
  int32_t size_ = -1;
  absl::Duration grown_ = -absl::InfiniteDuration();
  absl::Duration changed_ = -absl::InfiniteDuration();
  struct Past {
    absl::Duration at;
    int32_t kept = 0;
  };
  // Falling in `kept`: the front is the most of the last cool-down.
  std::deque<Past> past_;
};

// From pictures to plans. Pure but for what it remembers of its last plans; one thread.
//   - A plan is within bounds and budget, always.
//   - Within the budget both pools shrink before either grows, and who has the smaller share of
//     what it needs grows first.
class Planner {
 public:
  explicit Planner(const PlanOptions& options);
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  // `now` never goes back.
  Plan Next(const Picture& picture, absl::Duration now);

 private:
  struct Side {
    const Bounds& bounds;
    PoolKeeper& keeper;
    PoolPlan plan;
    int32_t wanted = 0;
    int32_t kept = 0;
  };
  void Want(Side& side, const Need& kept);
  void FitNeeds(Side& one, Side& other) const;
  void Advise(Side& side, bool may_shrink, absl::Duration now) const;
  void GrowWithin(Side& one, Side& other) const;
  int32_t Cost(const Side& side, int32_t workers) const { return side.bounds.gpus * workers; }

  const PlanOptions options_;
  PoolKeeper prefill_;
  PoolKeeper decode_;
};

}  // namespace baton::planner
