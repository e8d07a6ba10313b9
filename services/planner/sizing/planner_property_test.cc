// What holds of plans whatever the load: random pictures, from a seed.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "services/planner/sizing/planner.h"
#include "services/planner/sizing/testing/pictures.h"

namespace baton::planner {
namespace {

constexpr absl::Duration kTick = absl::Seconds(5);

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  double Real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  // Over several orders of magnitude, and sometimes 0.
  double Wide(double high) { return Chance(0.2) ? 0 : high * std::pow(Real(0, 1), 4); }
  int Whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool Chance(double share) { return Real(0, 1) < share; }

 private:
  std::mt19937_64 random_;
};

Traffic AnyTraffic(Dice& dice) {
  return {.requests_per_second = dice.Wide(500),
          .prompt_tokens = dice.Wide(100'000),
          .cached_share = dice.Real(0, 1),
          .output_tokens = dice.Wide(4'000)};
}

void AnyPool(Dice& dice, PoolState& pool) {
  pool.present = dice.Whole(0, 40);
  pool.workers = dice.Whole(0, pool.present);
  pool.waiting_tokens = static_cast<int64_t>(dice.Wide(1e7));
  pool.running = static_cast<int32_t>(dice.Wide(5'000));
  pool.waiting = static_cast<int32_t>(dice.Wide(5'000));
  pool.blocks_active = static_cast<int64_t>(dice.Wide(1e6));
  if (dice.Chance(0.1)) pool.fit = {};
}

Picture AnyPicture(Dice& dice) {
  Picture picture = MediumPicture();
  picture.recent = AnyTraffic(dice);
  picture.steady = AnyTraffic(dice);
  AnyPool(dice, picture.prefill);
  AnyPool(dice, picture.decode);
  picture.queued_requests = static_cast<int64_t>(dice.Wide(5'000));
  picture.queued_tokens = picture.queued_requests * dice.Whole(1, 4'000);
  picture.unserved = dice.Chance(0.1);
  picture.pace = dice.Real(1, 3);
  picture.partial = dice.Chance(0.1);
  return picture;
}

PlanOptions AnyOptions(Dice& dice) {
  PlanOptions options;
  options.targets.ttft = absl::Milliseconds(dice.Real(100, 5'000));
  options.targets.itl = absl::Milliseconds(dice.Real(5, 200));
  for (Bounds* bounds : {&options.prefill, &options.decode}) {
    bounds->min = dice.Whole(0, 3);
    bounds->max = bounds->min + dice.Whole(bounds->min > 0 ? 0 : 1, 20);
    bounds->gpus = dice.Chance(0.5) ? 1 : dice.Whole(1, 8);
  }
  const int least =
      options.prefill.min * options.prefill.gpus + options.decode.min * options.decode.gpus;
  if (dice.Chance(0.7)) options.budget_gpus = std::max(1, least + dice.Whole(0, 40));
  options.cool_down = absl::Seconds(dice.Whole(0, 300));
  options.cool_down_up = absl::Seconds(dice.Whole(0, 60));
  return options;
}

class PlannerPropertyTest : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, PlannerPropertyTest, testing::Range<uint64_t>(1, 13));

TEST_P(PlannerPropertyTest, APlanIsNeverOutsideItsBoundsOrItsBudget) {
  Dice dice(GetParam());
  const PlanOptions options = AnyOptions(dice);
  Planner planner(options);
  for (absl::Duration now; now < absl::Hours(1); now += kTick) {
    const Plan plan = planner.Next(AnyPicture(dice), now);
    for (const Pool pool : {Pool::kPrefill, Pool::kDecode}) {
      const Bounds& bounds = pool == Pool::kPrefill ? options.prefill : options.decode;
      ASSERT_GE(plan.of(pool).desired, bounds.min) << plan.of(pool).text();
      ASSERT_LE(plan.of(pool).desired, bounds.max) << plan.of(pool).text();
    }
    const int32_t gpus =
        plan.prefill.desired * options.prefill.gpus + plan.decode.desired * options.decode.gpus;
    ASSERT_LE(gpus, options.budget_gpus > 0 ? options.budget_gpus : gpus);
  }
}

TEST_P(PlannerPropertyTest, CoolDownsAreKept) {
  Dice dice(GetParam());
  const PlanOptions options = AnyOptions(dice);
  Planner planner(options);
  struct Last {
    int32_t size = -1;
    absl::Duration grown = -absl::InfiniteDuration(), changed = -absl::InfiniteDuration();
  } lasts[2];
  for (absl::Duration now; now < absl::Hours(1); now += kTick) {
    const Plan plan = planner.Next(AnyPicture(dice), now);
    for (const Pool pool : {Pool::kPrefill, Pool::kDecode}) {
      Last& last = lasts[static_cast<int>(pool)];
      const int32_t size = plan.of(pool).desired;
      if (last.size > 0 && size > last.size) {
        ASSERT_GE(now - last.grown, options.cool_down_up) << NameOf(pool);
      }
      if (last.size >= 0 && size < last.size) {
        ASSERT_GE(now - last.changed, options.cool_down) << NameOf(pool);
      }
      if (last.size >= 0 && size > last.size) last.grown = now;
      if (size != last.size) last.changed = now;
      last.size = size;
    }
  }
}

// How often a pool turned from shrinking to growing or back.
struct Turns {
  int count = 0;
  void Note(int32_t size) {
    const int direction = size > size_ ? 1 : size < size_ ? -1 : 0;
    if (size_ >= 0 && direction != 0) {
      count += direction_ != 0 && direction != direction_ ? 1 : 0;
      direction_ = direction;
    }
    size_ = size;
  }

 private:
  int32_t size_ = -1;
  int direction_ = 0;
};

// Turns of both pools, after the first cool-downs, under what `load` says of each moment.
template <typename Load>
int TurnsUnder(Dice& dice, Load&& load) {
  PlanOptions options;
  options.prefill.max = options.decode.max = 100;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.prefill.present = picture.prefill.workers = dice.Whole(1, 20);
  picture.decode.present = picture.decode.workers = dice.Whole(1, 20);
  Turns prefill, decode;
  for (absl::Duration now; now < absl::Hours(6); now += kTick) {
    picture.recent = picture.steady = Chats(load(now));
    const Plan plan = planner.Next(picture, now);
    if (now < options.cool_down * 2) continue;
    prefill.Note(plan.prefill.desired);
    decode.Note(plan.decode.desired);
  }
  return prefill.count + decode.count;
}

TEST_P(PlannerPropertyTest, ASteadyLoadDoesNotFlap) {
  Dice dice(GetParam());
  const double mean = dice.Real(1, 100);
  EXPECT_EQ(TurnsUnder(dice, [&](absl::Duration) { return mean; }), 0);
}

TEST_P(PlannerPropertyTest, ALoadThatIsNoisyFastAndSlowDoesNotFlap) {
  Dice dice(GetParam());
  const double mean = dice.Real(1, 100);
  const double period_minutes = dice.Real(15, 60);
  EXPECT_EQ(TurnsUnder(dice,
                       [&](absl::Duration now) {
                         const double turns = absl::ToDoubleMinutes(now) / period_minutes;
                         const double slow = 0.04 * std::sin(2 * M_PI * turns);
                         return mean * (1 + slow + dice.Real(-0.02, 0.02));
                       }),
            0);
}

TEST_P(PlannerPropertyTest, BurstsThatComeAgainWithinTheCoolDownDoNotFlap) {
  Dice dice(GetParam());
  const double mean = dice.Real(1, 30);
  EXPECT_EQ(TurnsUnder(dice,
                       [&](absl::Duration now) {
                         const bool burst = absl::ToInt64Seconds(now) % 240 < 10;
                         return burst ? 3 * mean : mean;
                       }),
            0);
}

// One thing grows, whatever it is: no pool needs less.
TEST_P(PlannerPropertyTest, NeedsNeverFallWhenTheLoadGrows) {
  Dice dice(GetParam());
  for (int i = 0; i < 200; ++i) {
    const Picture picture = AnyPicture(dice);
    Picture more = picture;
    const double by = dice.Real(1, 5);
    const int which = dice.Whole(0, 7);
    if (which == 0) more.recent.requests_per_second *= by;
    if (which == 1) more.recent.prompt_tokens *= by;
    if (which == 2) more.recent.output_tokens *= by;
    if (which == 3) more.recent.cached_share /= by;
    if (which == 4) more.prefill.waiting_tokens += dice.Whole(0, 1 << 20);
    if (which == 5)
      (dice.Chance(0.5) ? more.decode.running : more.decode.waiting) += dice.Whole(0, 1'000);
    if (which == 6) more.queued_requests += dice.Whole(0, 1'000);
    if (which == 7) more.decode.blocks_active += dice.Whole(0, 1 << 20);
    const Targets targets{.prompts_on_decode = dice.Chance(0.3)};
    const double margin = dice.Chance(0.5) ? 1 : 1.15;
    EXPECT_GE(PrefillNeed(more, more.recent, targets, margin).workers,
              PrefillNeed(picture, picture.recent, targets, 1).workers)
        << which;
    EXPECT_GE(DecodeNeed(more, more.recent, targets, margin).workers,
              DecodeNeed(picture, picture.recent, targets, 1).workers)
        << which;
  }
}

TEST_P(PlannerPropertyTest, WhoeverAsksWakesBothPoolsAtOnceAndAgain) {
  Dice dice(GetParam());
  PlanOptions options;
  options.prefill.min = options.decode.min = 0;
  options.cool_down_up = absl::Hours(10);  // sleep's end does not wait for it
  Planner planner(options);
  Picture picture = MediumPicture();
  absl::Duration now;
  for (int time = 0; time < 3; ++time) {
    Plan plan;
    for (int i = 0; i < 100; ++i) plan = planner.Next(picture, now += kTick);
    ASSERT_EQ(plan.decode.desired, 0);
    ASSERT_EQ(plan.prefill.desired, 0);
    Picture somebody = picture;
    const int how = dice.Whole(0, 2);
    if (how == 0) somebody.queued_requests = 1;
    if (how == 1) somebody.unserved = true;
    if (how == 2) somebody.recent.requests_per_second = 0.01;
    if (dice.Chance(0.5)) somebody.prefill.fit = somebody.decode.fit = {};
    plan = planner.Next(somebody, now += kTick);
    EXPECT_GE(plan.decode.desired, 1) << how;
    EXPECT_GE(plan.prefill.desired, 1) << how;
  }
}

TEST(PlannerTest, APoolThatMaySleepDoesSoAfterItsCoolDown) {
  PlanOptions options;
  options.prefill.min = options.decode.min = 0;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.recent = picture.steady = Chats(1);
  picture.decode.present = picture.prefill.present = 1;
  planner.Next(picture, absl::ZeroDuration());
  picture.recent = picture.steady = {};
  Plan plan = planner.Next(picture, kTick);
  EXPECT_EQ(plan.decode.desired, 1);
  EXPECT_EQ(plan.decode.reason(), "cool_down");
  plan = planner.Next(picture, options.cool_down + kTick * 2);
  EXPECT_EQ(plan.decode.desired, 0);
  EXPECT_EQ(plan.decode.reason(), "idle");
}

TEST(PlannerTest, APoolShrinksByAQuarterAtATimeAndByOneAtLeast) {
  PlanOptions options;
  options.decode.max = 100;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.decode.present = 20;
  std::vector<int32_t> sizes = {20};
  for (absl::Duration now; now < absl::Hours(2); now += kTick) {
    const int32_t size = planner.Next(picture, now).decode.desired;
    if (size != sizes.back()) sizes.push_back(size);
  }
  EXPECT_EQ(sizes, (std::vector<int32_t>{20, 15, 12, 9, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(PlannerTest, WithoutARouterNobodyIsSentAway) {
  PlanOptions options;
  options.decode.max = 10;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.decode.present = 8;
  picture.partial = true;
  Plan plan;
  for (absl::Duration now; now < absl::Hours(1); now += kTick) plan = planner.Next(picture, now);
  EXPECT_EQ(plan.decode.desired, 8);
  EXPECT_EQ(plan.decode.reason(), "partial");
}

TEST(PlannerTest, ABudgetThatIsTooSmallIsSharedByNeed) {
  PlanOptions options;
  options.prefill.max = options.decode.max = 100;
  options.budget_gpus = 10;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.recent = picture.steady = Chats(200);
  Plan plan = planner.Next(picture, absl::ZeroDuration());
  plan = planner.Next(picture, absl::Minutes(1));
  EXPECT_EQ(plan.prefill.desired + plan.decode.desired, 10);
  EXPECT_EQ(plan.prefill.reason(), "budget");
  const double share = 1.0 * plan.prefill.desired / plan.prefill.need.workers;
  const double other = 1.0 * plan.decode.desired / plan.decode.need.workers;
  EXPECT_NEAR(share, other, 0.1);
}

TEST(PlannerTest, APoolGrowsByWhatTheOtherGivesUp) {
  PlanOptions options;
  options.prefill.max = options.decode.max = 100;
  options.budget_gpus = 12;
  Planner planner(options);
  Picture picture = MediumPicture();
  picture.recent =
      picture.steady = {.requests_per_second = 40, .prompt_tokens = 200, .output_tokens = 2000};
  absl::Duration now;
  Plan plan;
  for (; now < absl::Minutes(20); now += kTick) plan = planner.Next(picture, now);
  const int32_t prefill_before = plan.prefill.desired;
  ASSERT_GT(plan.decode.desired, prefill_before);
  picture.recent =
      picture.steady = {.requests_per_second = 40, .prompt_tokens = 8000, .output_tokens = 20};
  for (; now < absl::Minutes(70); now += kTick) {
    plan = planner.Next(picture, now);
    ASSERT_LE(plan.prefill.desired + plan.decode.desired, 12);
  }
  EXPECT_GT(plan.prefill.desired, prefill_before);
  EXPECT_GT(plan.prefill.desired, plan.decode.desired);
}

}  // namespace
}  // namespace baton::planner
