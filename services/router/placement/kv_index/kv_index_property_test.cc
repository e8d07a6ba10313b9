// The index against the most obvious model there is: a set of blocks per worker. Random histories
// of stores in any order, evictions from the middle, snapshots, lost messages, workers that leave
// and come back, and a sweep that is never quite finished.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "services/router/placement/kv_index/kv_index.h"
#include "services/router/placement/kv_index/testing/chains.h"

namespace baton::router {
namespace {

struct Node {
  kv::BlockHash hash;
  int parent = -1;
};

struct Worker {
  KvSeat seat;
  std::set<int> held;      // really
  std::set<int> reported;  // as the index was told
  uint64_t number = 0;
  bool lost = false;  // a message since the last snapshot
};

struct Shape {
  int workers;
  int nodes;
  int chain_percent;  // how often a node continues the one before it
  int steps;
};

class History {
 public:
  History(const Shape& shape, uint64_t seed) : shape_(shape), random_(seed) {
    for (int i = 0; i < shape.nodes; ++i) {
      Node node{.hash = testing::HashOf(seed, i)};
      if (i > 0 && Chance(95)) node.parent = Chance(shape.chain_percent) ? i - 1 : Below(i);
      nodes_.push_back(node);
    }
    for (int i = 0; i < shape.workers; ++i) workers_.push_back({.seat = index_.Join()});
  }

  void Run() {
    for (int step = 0; step < shape_.steps && !::testing::Test::HasFatalFailure(); ++step) {
      Worker& worker = workers_[Below(shape_.workers)];
      const int dice = Below(100);
      if (dice < 2) {
        Rejoin(worker);
      } else if (dice < 6) {
        Snapshot(worker);
      } else if (dice < 8) {
        worker.lost = true;
        Change(worker);
        ++worker.number;
      } else {
        Tell(worker);
      }
      if (Chance(30)) index_.Tidy(1);
      if (Chance(50)) Compare(step);
    }
    Empty();
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  bool Chance(int percent) { return Below(100) < percent; }
  engine::KvEvents::Stored StoredOf(int node) const {
    const int parent = nodes_[node].parent;
    return {nodes_[node].hash, parent < 0 ? kv::BlockHash() : nodes_[parent].hash};
  }
  std::vector<int> PathTo(int node) const {
    std::vector<int> path;
    for (; node >= 0; node = nodes_[node].parent) path.push_back(node);
    std::reverse(path.begin(), path.end());
    return path;
  }

  // Some blocks come, some go: whole prompts, single ones, evictions anywhere.
  engine::KvEvents Change(Worker& worker) {
    engine::KvEvents events;
    for (int i = Below(4); i > 0; --i) {
      const int node = Below(shape_.nodes);
      if (worker.held.erase(node) > 0) events.removed.push_back(nodes_[node].hash);
    }
    std::vector<int> stored = {Below(shape_.nodes)};
    if (Chance(50)) stored = PathTo(Below(shape_.nodes));
    if (Chance(20)) std::shuffle(stored.begin(), stored.end(), random_);
    for (const int node : stored) {
      worker.held.insert(node);
      events.stored.push_back(StoredOf(node));
    }
    return events;
  }

  void Tell(Worker& worker) {
    engine::KvEvents events = Change(worker);
    events.number = ++worker.number;
    const auto outcome = index_.Apply(worker.seat, events);
    ASSERT_EQ(outcome == KvIndex::Outcome::kApplied, !worker.lost);
    if (!worker.lost) worker.reported = worker.held;
  }

  void Snapshot(Worker& worker) {
    engine::KvEvents events{.number = ++worker.number, .snapshot = true};
    for (const int node : worker.held) events.stored.push_back(StoredOf(node));
    std::shuffle(events.stored.begin(), events.stored.end(), random_);
    ASSERT_EQ(index_.Apply(worker.seat, events), KvIndex::Outcome::kApplied);
    worker.lost = false;
    worker.reported = worker.held;
  }

  void Rejoin(Worker& worker) {
    index_.Leave(worker.seat);
    worker = {.seat = index_.Join()};
  }

  void Compare(int step) {
    const std::vector<int> path = PathTo(Below(shape_.nodes));
    std::vector<kv::BlockHash> prompt;
    for (const int node : path) prompt.push_back(nodes_[node].hash);
    if (Chance(30)) prompt.push_back(testing::HashOf(~0u, step));
    index_.Match(prompt, absl::ZeroDuration(), matches_);
    size_t some = 0;
    for (const Worker& worker : workers_) {
      size_t depth = 0;
      while (depth < path.size() && worker.reported.contains(path[depth])) ++depth;
      ASSERT_EQ(matches_.held(worker.seat), static_cast<int32_t>(depth)) << "step " << step;
      ASSERT_EQ(index_.blocks_of(worker.seat), worker.reported.size()) << "step " << step;
      some += depth > 0;
    }
    ASSERT_EQ(matches_.num_seats(), some) << "step " << step;
  }

  void Empty() {
    std::set<int> different;
    for (const Worker& worker : workers_) {
      different.insert(worker.reported.begin(), worker.reported.end());
    }
    while (index_.Tidy(1 << 20)) {
    }
    EXPECT_LE(index_.counters().blocks, different.size());
    for (const Worker& worker : workers_) index_.Leave(worker.seat);
    while (index_.Tidy(1 << 20)) {
    }
    EXPECT_EQ(index_.counters().blocks, 0u);
    EXPECT_EQ(index_.counters().orphans, 0u);
  }

  const Shape shape_;
  std::mt19937_64 random_;
  KvIndex index_{{.expected_slots = 4, .sweep_records_per_lock = 7}};
  KvMatches matches_;
  std::vector<Node> nodes_;
  std::vector<Worker> workers_;
};

class KvIndexPropertyTest : public ::testing::TestWithParam<Shape> {};

TEST_P(KvIndexPropertyTest, AgreesWithASetOfBlocksPerWorker) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    History(GetParam(), seed).Run();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, KvIndexPropertyTest,
                         ::testing::Values(Shape{3, 24, 60, 3000},     // much on little
                                           Shape{8, 200, 95, 3000},    // long chains
                                           Shape{20, 40, 10, 3000},    // wide, sets as bitmaps
                                           Shape{150, 30, 80, 4000}),  // several words
                         [](const auto& shape) {
                           return std::to_string(shape.param.workers) + "Workers";
                         });

}  // namespace
}  // namespace baton::router
