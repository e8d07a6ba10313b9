// The whole cluster in one thread, thousands of times: whatever goes wrong, every promise holds.
//
//   simulation_test --seed=N             one run, with the product's log
//   simulation_test --seeds=N --first=M  so many, from M on

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string_view>

#include "absl/time/clock.h"
#include "common/telemetry/logging.h"
#include "tests/simulation/cluster.h"

namespace baton::simulation {
namespace {

struct Flags {
  std::optional<uint64_t> seed;
  uint64_t first = 1;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  uint64_t seeds = 400;
#else
  uint64_t seeds = 4000;
#endif
} flags;

// Sums over the runs of one profile.
struct Tally {
  int runs = 0;
  Outcome sum;

  void Add(const Outcome& one) {
    ++runs;
    sum.completed += one.completed;
    sum.failed += one.failed;
    sum.cancelled += one.cancelled;
    sum.lost += one.lost;
    sum.placements += one.placements;
    sum.handovers += one.handovers;
    sum.handovers_failed += one.handovers_failed;
    sum.mismatches += one.mismatches;
    sum.late_pieces += one.late_pieces;
    sum.late_replaced += one.late_replaced;
    sum.preemptions += one.preemptions;
    sum.events += one.events;
  }
  void Print(std::string_view name) const {
    fmt::print(
        "{:10} {:5} runs: {:6} completed, {:4} failed, {:4} cancelled, {:4} lost with a router; "
        "{:6} placements, {:6} hand-overs, {:5} failed, {:4} corrupt; {:5} late pieces "
        "({} where a spare stood in), {:5} preemptions; {} events a run\n",
        name, runs, sum.completed, sum.failed, sum.cancelled, sum.lost, sum.placements,
        sum.handovers, sum.handovers_failed, sum.mismatches, sum.late_pieces, sum.late_replaced,
        sum.preemptions, sum.events / runs);
  }
};

Outcome RunSeed(uint64_t seed, const ClusterOptions& options = {}) {
  return Cluster(seed, options).Run();
}

TEST(SimulationTest, EveryPromiseHoldsWhateverGoesWrong) {
  const uint64_t first = flags.seed.value_or(flags.first);
  const uint64_t count = flags.seed ? 1 : flags.seeds;
  const absl::Time began = absl::Now();
  std::map<std::string_view, Tally> tallies;
  int broken = 0;
  for (uint64_t seed = first; seed < first + count && broken < 5; ++seed) {
    const Outcome outcome = RunSeed(seed);
    EXPECT_EQ(outcome.wrong, "") << "profile " << outcome.profile
                                 << "; run it alone: simulation_test --seed=" << seed;
    broken += !outcome.wrong.empty();
    tallies[outcome.profile].Add(outcome);
  }
  int64_t late_replaced = 0;
  for (const auto& [name, tally] : tallies) {
    tally.Print(name);
    late_replaced += tally.sum.late_replaced;
  }
  if (count >= 1000) {
    EXPECT_GT(late_replaced, 0) << "spares were never put to the test";
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - began);
  std::printf("%llu seeds in %.1f s: %.0f a second\n", static_cast<unsigned long long>(count),
              seconds, static_cast<double>(count) / seconds);
}

TEST(SimulationTest, ASeedRunsTheSameWayTwice) {
  for (uint64_t seed = flags.first; seed < flags.first + 21; ++seed) {
    const Outcome once = RunSeed(seed);
    const Outcome twice = RunSeed(seed);
    EXPECT_EQ(once.trace, twice.trace) << "seed " << seed << ", profile " << once.profile;
    EXPECT_EQ(once.events, twice.events) << "seed " << seed;
  }
}

// ---- that it can fail ----

const FaultProfile* ProfileNamed(std::string_view name) {
  for (const FaultProfile& profile : FaultProfiles()) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

// The number of the first seed, from 1 on, that shows what is broken; 0: none of `seeds`.
uint64_t FindBy(const Mutations& mutations, std::string_view profile, uint64_t seeds,
                std::string_view expected) {
  const ClusterOptions options{.profile = ProfileNamed(profile), .mutations = mutations};
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome outcome = RunSeed(seed, options);
    if (outcome.wrong.empty()) continue;
    fmt::print("seed {}: {}\n", seed, outcome.wrong);
    EXPECT_NE(outcome.wrong.find(expected), std::string::npos) << outcome.wrong;
    return seed;
  }
  return 0;
}

TEST(BrokenProductTest, BlocksFreedWhileSomebodyMayWriteToThem) {
  EXPECT_GT(FindBy({.free_quarantine_early = true}, "network", 100, "may still write"), 0u);
}

TEST(BrokenProductTest, AFenceThatIsAnsweredBeforeTheLastWrite) {
  EXPECT_GT(FindBy({.fence_answers_early = true}, "prefill", 400, "was taken back"), 0u);
}

TEST(BrokenProductTest, ATokenDroppedOnTheWayToAnotherWorker) {
  EXPECT_GT(FindBy({.drop_token_on_continuation = true}, "decode", 100, "token"), 0u);
}

TEST(BrokenProductTest, KvThatNobodyVerifies) {
  EXPECT_GT(FindBy({.skip_verification = true}, "prefill", 100, "wrong KV was read"), 0u);
}

TEST(BrokenProductTest, CancelsThatGetLost) {
  EXPECT_GT(FindBy({.lose_cancels = true}, "calm", 2000, "long after its cancel"), 0u);
}

}  // namespace
}  // namespace baton::simulation

int main(int argc, char** argv) {
  using baton::telemetry::Level;
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    auto& flags = baton::simulation::flags;
    const auto value = [&](std::string_view name) -> std::optional<uint64_t> {
      if (!flag.starts_with(name)) return std::nullopt;
      return std::strtoull(argv[i] + name.size(), nullptr, 10);
    };
    if (const auto seed = value("--seed=")) flags.seed = seed;
    if (const auto first = value("--first=")) flags.first = *first;
    if (const auto seeds = value("--seeds=")) flags.seeds = *seeds;
  }
  const bool loud = baton::simulation::flags.seed.has_value();
  baton::telemetry::InitLogging("simulation", loud ? Level::kInfo : Level::kError,
                                baton::telemetry::Format::kText);
  return RUN_ALL_TESTS();
}
