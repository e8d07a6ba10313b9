#include "services/router/placement/kv_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace baton::router {
namespace {

using Outcome = KvIndex::Outcome;

kv::BlockHash Hash(uint64_t i) { return {.high = i * 7919, .low = i}; }

engine::KvEvents Events(uint64_t number, std::vector<uint64_t> stored,
                        std::vector<uint64_t> removed = {}, bool snapshot = false) {
  engine::KvEvents events{.number = number, .snapshot = snapshot};
  for (const uint64_t i : stored) events.stored.push_back({Hash(i), {}});
  for (const uint64_t i : removed) events.removed.push_back(Hash(i));
  return events;
}

std::vector<kv::BlockHash> Prompt(std::vector<uint64_t> blocks) {
  std::vector<kv::BlockHash> hashes;
  for (const uint64_t i : blocks) hashes.push_back(Hash(i));
  return hashes;
}

const WorkerId kA("a");
const WorkerId kB("b");

TEST(KvIndexTest, MatchCountsLeadingBlocksPerWorker) {
  KvIndex index;
  EXPECT_EQ(index.Apply(kA, Events(1, {1, 2, 3})), Outcome::kApplied);
  EXPECT_EQ(index.Apply(kB, Events(1, {1, 3})), Outcome::kApplied);
  const auto matches = index.Match(Prompt({1, 2, 3, 4}));
  EXPECT_EQ(matches.at(kA), 3);
  EXPECT_EQ(matches.at(kB), 1);
  EXPECT_TRUE(index.Match(Prompt({9})).empty());
  EXPECT_TRUE(index.Match({}).empty());
}

TEST(KvIndexTest, AGapAsksOnceForASnapshotWhichReplacesEverything) {
  KvIndex index;
  index.Apply(kA, Events(1, {1}));
  EXPECT_EQ(index.Apply(kA, Events(3, {3})), Outcome::kGap);
  EXPECT_EQ(index.Apply(kA, Events(4, {4})), Outcome::kIgnored);
  EXPECT_EQ(index.Apply(kA, Events(5, {7}, {}, /*snapshot=*/true)), Outcome::kApplied);
  EXPECT_TRUE(index.Match(Prompt({1})).empty());
  EXPECT_EQ(index.Match(Prompt({7})).at(kA), 1);
  EXPECT_EQ(index.Apply(kA, Events(6, {8})), Outcome::kApplied);
}

TEST(KvIndexTest, AStreamThatBeginsInTheMiddleIsAGap) {
  KvIndex index;
  EXPECT_EQ(index.Apply(kA, Events(17, {1})), Outcome::kGap);
}

TEST(KvIndexTest, ARepeatedNumberIsAGapToo) {
  KvIndex index;
  index.Apply(kA, Events(1, {1}));
  EXPECT_EQ(index.Apply(kA, Events(1, {2})), Outcome::kGap);
}

TEST(KvIndexTest, ANewWorkerNeverInheritsTheBlocksOfOneThatLeft) {
  KvIndex index;
  index.Apply(kA, Events(1, {1, 2}));
  index.Remove(kA);
  EXPECT_EQ(index.num_blocks(), 0u);
  index.Apply(kB, Events(1, {2}));
  EXPECT_TRUE(index.Match(Prompt({1, 2})).empty());
}

// Against a map of sets, over random histories of three workers.
TEST(KvIndexTest, AgreesWithANaiveModel) {
  std::mt19937 random(7);
  KvIndex index;
  std::map<WorkerId, std::set<uint64_t>> model;
  std::map<WorkerId, uint64_t> next;
  for (int step = 0; step < 4000; ++step) {
    const WorkerId worker(std::string(1, static_cast<char>('a' + random() % 3)));
    if (random() % 100 == 0) {
      index.Remove(worker);
      model.erase(worker);
      next.erase(worker);
      continue;
    }
    const uint64_t stored = random() % 12;
    const uint64_t removed = random() % 12;
    const bool snapshot = random() % 50 == 0;
    ASSERT_EQ(index.Apply(worker, Events(++next[worker], {stored}, {removed}, snapshot)),
              Outcome::kApplied);
    if (snapshot) model[worker].clear();
    model[worker].erase(removed);
    model[worker].insert(stored);

    std::vector<uint64_t> prompt;
    for (int i = 0; i < 4; ++i) prompt.push_back(random() % 12);
    const auto matches = index.Match(Prompt(prompt));
    for (const char name : {'a', 'b', 'c'}) {
      const WorkerId who(std::string(1, name));
      int32_t depth = 0;
      while (depth < 4 && model[who].contains(prompt[depth])) ++depth;
      const auto found = matches.find(who);
      ASSERT_EQ(found == matches.end() ? 0 : found->second, depth) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace baton::router
