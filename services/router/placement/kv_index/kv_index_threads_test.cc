// Look-ups beside events: what they say must have been true. Run under ThreadSanitizer as well.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "services/router/placement/kv_index/kv_index.h"
#include "services/router/placement/kv_index/testing/chains.h"

namespace baton::router {
namespace {

using testing::Chain;
using testing::Drop;
using testing::Store;

constexpr int kRounds = 400;
constexpr auto kNow = absl::ZeroDuration();

// Runs `write` in this thread and `look` in three others, again and again until it has returned.
template <typename Write, typename Look>
void Beside(Write write, Look look) {
  std::atomic<bool> over = false;
  std::atomic<int> started = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      KvMatches matches;
      ++started;
      while (!over.load() && !::testing::Test::HasFailure()) look(matches);
    });
  }
  while (started < 3) std::this_thread::yield();
  write();
  over = true;
  for (std::thread& reader : readers) reader.join();
}

TEST(KvIndexThreadsTest, AWorkerThatDoesNotChangeIsSeenUnchangedWhateverOthersDo) {
  KvIndex index({.expected_slots = 64, .sweep_records_per_lock = 16});
  const auto prompt = Chain("p", 96);
  const KvSeat still = index.Join();
  index.Apply(still, Store(1, prompt, 0, 61));
  const auto write = [&] {
    for (int round = 0; round < kRounds; ++round) {
      const KvSeat guest = index.Join();
      index.Expect(guest, prompt, kNow);
      index.Apply(guest, Store(1, prompt, 0, 96));
      index.Apply(guest, Drop(2, prompt, round % 96, round % 96 + 1));
      // Enough different blocks for tables to be rebuilt and records to be used again.
      index.Apply(guest, Store(3, Chain(std::to_string(round), 200), 0, 200));
      index.Leave(guest);
      index.Tidy(512);
    }
  };
  Beside(write, [&](KvMatches& matches) {
    index.Match(prompt, kNow, matches);
    EXPECT_EQ(matches.held(still), 61);
  });
}

TEST(KvIndexThreadsTest, ASnapshotIsSeenAsAWhole) {
  KvIndex index({.expected_slots = 64, .sweep_records_per_lock = 16});
  const auto prompt = Chain("p", 96);
  for (int i = 0; i < 62; ++i) index.Join();  // numbers of one word and the next are used in turn
  const KvSeat seat = index.Join();
  index.Apply(seat, Store(1, prompt, 0, 80));
  const auto write = [&] {
    for (int round = 0; round < kRounds; ++round) {
      auto snapshot = Store(round + 2, prompt, 0, round % 2 == 0 ? 17 : 80);
      snapshot.snapshot = true;
      index.Apply(seat, snapshot);
      index.Tidy(64);
    }
  };
  Beside(write, [&](KvMatches& matches) {
    index.Match(prompt, kNow, matches);
    const int32_t held = matches.held(seat);
    EXPECT_TRUE(held == 17 || held == 80) << held;
  });
}

TEST(KvIndexThreadsTest, ACacheThatGrowsAndShrinksAtItsEndIsSeenBetweenItsBounds) {
  KvIndex index({.expected_slots = 64});
  const auto prompt = Chain("p", 128);
  std::vector<KvSeat> seats;
  for (int i = 0; i < 9; ++i) {
    seats.push_back(index.Join());
    index.Apply(seats[i], Store(1, prompt, 0, 8 + i));
  }
  const auto write = [&] {
    for (int round = 0; round < kRounds; ++round) {
      for (int i = 0; i < 9; ++i) {
        const uint64_t number = 2 + 2 * round;
        index.Apply(seats[i], Store(number, prompt, 8 + i, 100 + i));
        index.Apply(seats[i], Drop(number + 1, prompt, 8 + i, 100 + i));
      }
    }
  };
  Beside(write, [&](KvMatches& matches) {
    index.Match(prompt, kNow, matches);
    for (int i = 0; i < 9; ++i) {
      EXPECT_GE(matches.held(seats[i]), 8 + i);
      EXPECT_LE(matches.held(seats[i]), 100 + i);
    }
  });
}

TEST(KvIndexThreadsTest, EventsOfManyWorkersComeFromManyThreads) {
  KvIndex index({.expected_slots = 64, .sweep_records_per_lock = 16});
  const auto prompt = Chain("p", 64);
  std::vector<std::thread> workers;
  for (int t = 0; t < 3; ++t) {
    workers.emplace_back([&, t] {
      KvMatches matches;
      for (int round = 0; round < kRounds / 4; ++round) {
        const KvSeat seat = index.Join();
        index.Apply(seat, Store(1, prompt, 0, 64));
        index.Match(prompt, kNow, matches);
        EXPECT_EQ(matches.held(seat), 64) << t;
        index.Leave(seat);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  while (index.Tidy(1 << 20)) {
  }
  EXPECT_EQ(index.counters().blocks, 0u);
}

}  // namespace
}  // namespace baton::router
