// The router's KV index beside the most obvious one, a map from hash to the set of its holders.
//
//   shared   64 workers; prompts of 128 blocks, the first 64 of them one of 200 shared prefixes;
//            6,400 prompts, each on one worker; one thread
//   threads  the same look-ups from several threads, with events streaming in beside them
//   large    1,000 workers, 10 M blocks in documents of 8,192 (128 k tokens in blocks of 16)
//
// kv_index_bench [--quick] [--threads N] [--only shared] prints JSON, a line per figure.

#include <malloc.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "services/router/placement/kv_index/kv_index.h"
#include "services/router/placement/kv_index/testing/chains.h"

namespace baton::router {
namespace {

using testing::HashOf;
using Prompt = std::vector<kv::BlockHash>;
using SteadyClock = std::chrono::steady_clock;

bool quick = false;

// Of this thread: what a shared machine gives to others does not count.
double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// Resident bytes, from the kernel.
size_t ResidentBytes() {
  size_t total = 0;
  size_t resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%zu %zu", &total, &resident) != 2) resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident * 4096;
}

void Print(const char* workload, const char* index, const char* figure, double value) {
  std::printf("  {\"workload\": \"%s\", \"index\": \"%s\", \"%s\": %.4g},\n", workload, index,
              figure, value);
  std::fflush(stdout);
}

// What anyone would write first: a probe for every block, until nobody is left.
class NaiveIndex {
 public:
  void Store(uint32_t worker, const kv::BlockHash& hash) { holders_[hash].insert(worker); }
  void Drop(uint32_t worker, const kv::BlockHash& hash) {
    auto found = holders_.find(hash);
    if (found == holders_.end()) return;
    found->second.erase(worker);
    if (found->second.empty()) holders_.erase(found);
  }
  void Match(std::span<const kv::BlockHash> prompt, std::unordered_map<uint32_t, int>& out) const {
    out.clear();
    std::vector<uint32_t> still;
    for (size_t depth = 0; depth < prompt.size(); ++depth) {
      auto found = holders_.find(prompt[depth]);
      if (found == holders_.end()) break;
      if (depth == 0) still.assign(found->second.begin(), found->second.end());
      std::erase_if(still, [&](uint32_t worker) { return !found->second.contains(worker); });
      if (still.empty()) break;
      for (uint32_t worker : still) out[worker] = static_cast<int>(depth) + 1;
    }
  }

 private:
  struct Hasher {
    size_t operator()(const kv::BlockHash& hash) const { return hash.low; }
  };
  std::unordered_map<kv::BlockHash, std::unordered_set<uint32_t>, Hasher> holders_;
};

engine::KvEvents StoreEvents(uint64_t number, const Prompt& prompt) {
  return testing::Store(number, prompt, 0, prompt.size());
}

// ---- shared prefixes ----------------------------------------------------------------------------

constexpr int kWorkers = 64;
constexpr size_t kPrefixes = 200;
constexpr size_t kPrefixBlocks = 64;
constexpr size_t kPromptBlocks = 128;

struct Shared {
  std::vector<Prompt> prompts;
  std::vector<int> workers;  // of each prompt
  std::vector<engine::KvEvents> events;
  size_t pairs = 0;
};

Prompt SharedPrompt(size_t prefix, uint64_t tail) {
  Prompt prompt;
  for (size_t i = 0; i < kPrefixBlocks; ++i) prompt.push_back(HashOf(prefix, i));
  for (size_t i = kPrefixBlocks; i < kPromptBlocks; ++i) prompt.push_back(HashOf(1000 + tail, i));
  return prompt;
}

Shared MakeShared(size_t count) {
  Shared shared;
  std::mt19937_64 random(1);
  std::vector<uint64_t> numbers(kWorkers, 0);
  std::unordered_set<uint64_t> known;
  for (size_t i = 0; i < count; ++i) {
    const size_t prefix = random() % kPrefixes;
    const int worker = static_cast<int>(random() % kWorkers);
    shared.prompts.push_back(SharedPrompt(prefix, i));
    shared.workers.push_back(worker);
    shared.events.push_back(StoreEvents(++numbers[worker], shared.prompts.back()));
    shared.pairs += kPromptBlocks - kPrefixBlocks;
    if (known.insert(prefix * kWorkers + worker).second) shared.pairs += kPrefixBlocks;
  }
  return shared;
}

void RunShared() {
  const Shared shared = MakeShared(6400);
  const int rounds = quick ? 50 : 1000;
  // A thousand of them, five a prefix: prompts that are there, and new ones behind a known prefix,
  // in turn.
  std::vector<Prompt> queries;
  std::mt19937_64 random(2);
  for (size_t i = 0; i < 1000; ++i) {
    queries.push_back(i % 2 == 0 ? shared.prompts[random() % shared.prompts.size()]
                                 : SharedPrompt(random() % kPrefixes, 1000000 + i));
  }

  malloc_trim(0);
  size_t resident = ResidentBytes();
  KvIndex index({.expected_slots = 4});
  std::vector<KvSeat> seats;
  for (int i = 0; i < kWorkers; ++i) seats.push_back(index.Join());
  auto start = CpuSeconds();
  for (size_t i = 0; i < shared.events.size(); ++i) {
    index.Apply(seats[shared.workers[i]], shared.events[i]);
  }
  double seconds = (CpuSeconds() - start);
  const double blocks = static_cast<double>(shared.prompts.size() * kPromptBlocks);
  Print("shared", "baton", "stored_from_empty_M_blocks_per_s", blocks / seconds / 1e6);
  Print("shared", "baton", "bytes_per_pair",
        static_cast<double>(ResidentBytes() - resident) / static_cast<double>(shared.pairs));
  Print("shared", "baton", "pairs", static_cast<double>(shared.pairs));

  // A cache that is full: each prompt evicted, newest block first, then computed anew.
  std::vector<uint64_t> numbers(kWorkers, 1 << 20);
  std::vector<engine::KvEvents> drops, stores;
  for (int worker = 0; worker < kWorkers; ++worker) {
    index.Apply(seats[worker], {.number = numbers[worker]});  // a gap: the snapshot follows
    engine::KvEvents snapshot{.number = numbers[worker], .snapshot = true};
    for (size_t i = 0; i < shared.events.size(); ++i) {
      if (shared.workers[i] != worker) continue;
      const auto& stored = shared.events[i].stored;
      snapshot.stored.insert(snapshot.stored.end(), stored.begin(), stored.end());
    }
    index.Apply(seats[worker], snapshot);
  }
  while (index.Tidy(1 << 20)) {
  }
  for (size_t i = 0; i < shared.prompts.size(); ++i) {
    drops.emplace_back();
    drops.back().removed.assign(shared.prompts[i].rbegin(),
                                shared.prompts[i].rend() - kPrefixBlocks);
    stores.push_back(testing::Store(0, shared.prompts[i], kPrefixBlocks, kPromptBlocks));
  }
  const auto apply = [&](std::vector<engine::KvEvents>& events, size_t i) {
    events[i].number = ++numbers[shared.workers[i]];
    index.Apply(seats[shared.workers[i]], events[i]);
  };
  double dropping = 0;
  double storing = 0;
  const size_t batch = 100;  // reading the clock for each prompt would cost a tenth of it
  for (size_t begin = 0; begin < shared.prompts.size(); begin += batch) {
    const size_t end = std::min(begin + batch, shared.prompts.size());
    const double before = CpuSeconds();
    for (size_t i = begin; i < end; ++i) apply(drops, i);
    const double between = CpuSeconds();
    for (size_t i = begin; i < end; ++i) apply(stores, i);
    dropping += between - before;
    storing += CpuSeconds() - between;
  }
  Print("shared", "baton", "dropped_M_blocks_per_s", blocks / 2 / dropping / 1e6);
  Print("shared", "baton", "stored_again_M_blocks_per_s", blocks / 2 / storing / 1e6);
  start = CpuSeconds();
  for (size_t i = 0; i < shared.events.size(); ++i) {
    engine::KvEvents& known = const_cast<engine::KvEvents&>(shared.events[i]);
    known.number = ++numbers[shared.workers[i]];
    index.Apply(seats[shared.workers[i]], known);
  }
  Print("shared", "baton", "told_again_M_blocks_per_s", blocks / (CpuSeconds() - start) / 1e6);

  KvMatches matches;
  size_t found = 0;
  double best = 1e9;
  std::vector<double> all;
  for (int round = 0; round < rounds; ++round) {
    start = CpuSeconds();
    for (const Prompt& query : queries) {
      index.Match(query, absl::ZeroDuration(), matches);
      found += matches.num_seats();
    }
    all.push_back(CpuSeconds() - start);
    best = std::min(best, all.back());
  }
  std::sort(all.begin(), all.end());
  const double lookups = static_cast<double>(queries.size());
  Print("shared", "baton", "lookups_M_per_s_median", lookups / all[all.size() / 2] / 1e6);
  Print("shared", "baton", "lookups_M_per_s_best", lookups / best / 1e6);
  Print("shared", "baton", "queried_M_blocks_per_s_median",
        lookups * kPromptBlocks / all[all.size() / 2] / 1e6);
  Print("shared", "baton", "workers_found_per_lookup",
        static_cast<double>(found) / lookups / rounds);

  malloc_trim(0);
  resident = ResidentBytes();
  NaiveIndex naive;
  start = CpuSeconds();
  for (size_t i = 0; i < shared.prompts.size(); ++i) {
    for (const kv::BlockHash& hash : shared.prompts[i]) naive.Store(shared.workers[i], hash);
  }
  Print("shared", "naive", "stored_from_empty_M_blocks_per_s",
        blocks / (CpuSeconds() - start) / 1e6);
  Print("shared", "naive", "bytes_per_pair",
        static_cast<double>(ResidentBytes() - resident) / static_cast<double>(shared.pairs));
  std::unordered_map<uint32_t, int> out;
  size_t naive_found = 0;
  start = CpuSeconds();
  for (const Prompt& query : queries) {
    naive.Match(query, out);
    naive_found += out.size();
  }
  Print("shared", "naive", "lookups_M_per_s", lookups / (CpuSeconds() - start) / 1e6);
  if (naive_found * rounds != found) {
    std::fprintf(stderr, "the two indexes disagree: %zu and %zu\n", naive_found * rounds, found);
    std::exit(1);
  }
}

// ---- several threads ----------------------------------------------------------------------------

double LookupsPerSecond(const KvIndex& index, const std::vector<Prompt>& queries, int threads,
                        const std::function<void()>& write) {
  std::atomic<bool> over = false;
  std::atomic<size_t> lookups = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      KvMatches matches;
      size_t done = 0;
      for (size_t i = t * 997; !over.load(std::memory_order_relaxed); ++i, ++done) {
        index.Match(queries[i % queries.size()], absl::ZeroDuration(), matches);
      }
      lookups += done;
    });
  }
  const auto start = SteadyClock::now();
  while (SecondsSince(start) < (quick ? 0.2 : 2.0)) {
    if (write) {
      write();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  const double seconds = SecondsSince(start);
  over = true;
  for (std::thread& reader : readers) reader.join();
  return static_cast<double>(lookups) / seconds;
}

void RunThreads(int threads_max) {
  const Shared shared = MakeShared(6400);
  KvIndex index({.expected_slots = 4});
  std::vector<KvSeat> seats;
  for (int i = 0; i < kWorkers; ++i) seats.push_back(index.Join());
  std::vector<uint64_t> numbers(kWorkers, 0);
  for (size_t i = 0; i < shared.events.size(); ++i) {
    index.Apply(seats[shared.workers[i]], shared.events[i]);
    ++numbers[shared.workers[i]];
  }
  for (int threads = 1; threads <= threads_max; ++threads) {
    const std::string name = "threads_" + std::to_string(threads);
    Print(name.c_str(), "baton", "lookups_M_per_s",
          LookupsPerSecond(index, shared.prompts, threads, nullptr) / 1e6);
    // Beside them: 2,000 events a second of 64 blocks evicted and 64 stored, 0.26 M blocks/s.
    size_t next = 0;
    size_t written = 0;
    const auto start = SteadyClock::now();
    const auto write = [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      while (static_cast<double>(written) < 2000 * SecondsSince(start)) {
        const size_t i = next++ % shared.prompts.size();
        const int worker = shared.workers[i];
        engine::KvEvents events =
            testing::Store(++numbers[worker], shared.prompts[i], kPrefixBlocks, kPromptBlocks);
        events.removed.assign(shared.prompts[i].rbegin(), shared.prompts[i].rend() - kPrefixBlocks);
        index.Apply(seats[worker], events);
        ++written;
      }
    };
    Print(name.c_str(), "baton", "lookups_beside_events_M_per_s",
          LookupsPerSecond(index, shared.prompts, threads, write) / 1e6);
  }
}

// ---- large --------------------------------------------------------------------------------------

// 1,221 documents of 8,192 blocks. Each is held whole by one worker and in part, to lengths of
// their own, by `others` more.
void RunLarge(size_t others) {
  const size_t kDocumentBlocks = 8192;
  const size_t documents = quick ? 60 : 1221;
  const std::string name = "large_" + std::to_string(others + 1) + "_holders";
  std::mt19937_64 random(3);
  std::vector<Prompt> prompts;
  for (size_t d = 0; d < documents; ++d) {
    Prompt prompt;
    prompt.reserve(kDocumentBlocks);
    for (size_t i = 0; i < kDocumentBlocks; ++i) prompt.push_back(HashOf(d, i));
    prompts.push_back(std::move(prompt));
  }
  malloc_trim(0);
  const size_t resident = ResidentBytes();
  KvIndex index({.expected_slots = 4});
  std::vector<KvSeat> seats;
  std::vector<uint64_t> numbers(1000, 0);
  for (int i = 0; i < 1000; ++i) seats.push_back(index.Join());
  size_t pairs = 0;
  double storing = 0;
  const auto store = [&](size_t worker, const Prompt& prompt, size_t blocks) {
    const engine::KvEvents events = testing::Store(++numbers[worker], prompt, 0, blocks);
    const auto start = SteadyClock::now();
    index.Apply(seats[worker], events);
    storing += SecondsSince(start);
    pairs += blocks;
  };
  for (size_t d = 0; d < documents; ++d) {
    const size_t first = random() % 1000;
    store(first, prompts[d], kDocumentBlocks);
    for (size_t other = 1; other <= others; ++other) {
      store((first + other * 7) % 1000, prompts[d], 1 + random() % kDocumentBlocks);
    }
  }
  const double million = static_cast<double>(pairs) / 1e6;
  Print(name.c_str(), "baton", "blocks_M", static_cast<double>(index.counters().blocks) / 1e6);
  Print(name.c_str(), "baton", "pairs_M", million);
  Print(name.c_str(), "baton", "stored_from_empty_M_blocks_per_s", million / storing);
  malloc_trim(0);
  Print(name.c_str(), "baton", "resident_bytes_per_pair",
        static_cast<double>(ResidentBytes() - resident) / static_cast<double>(pairs));

  KvMatches matches;
  std::vector<double> micros;
  size_t found = 0;
  for (int i = 0; i < (quick ? 2000 : 50000); ++i) {
    const Prompt& prompt = prompts[random() % documents];
    const auto start = SteadyClock::now();
    index.Match(prompt, absl::ZeroDuration(), matches);
    micros.push_back(SecondsSince(start) * 1e6);
    found += matches.num_seats();
  }
  std::sort(micros.begin(), micros.end());
  Print(name.c_str(), "baton", "workers_found_per_lookup",
        static_cast<double>(found) / static_cast<double>(micros.size()));
  Print(name.c_str(), "baton", "lookup_p50_us", micros[micros.size() / 2]);
  Print(name.c_str(), "baton", "lookup_p99_us", micros[micros.size() * 99 / 100]);
  Print(name.c_str(), "baton", "lookup_p999_us", micros[micros.size() * 999 / 1000]);
  if (others != 7) return;

  // The obvious map, with what fits a patient reader: the first hundred documents.
  NaiveIndex naive;
  for (size_t d = 0; d < std::min<size_t>(documents, 100); ++d) {
    for (const kv::BlockHash& hash : prompts[d]) naive.Store(0, hash);
  }
  std::unordered_map<uint32_t, int> out;
  std::vector<double> naive_micros;
  for (int i = 0; i < 200; ++i) {
    const auto start = SteadyClock::now();
    naive.Match(prompts[random() % std::min<size_t>(documents, 100)], out);
    naive_micros.push_back(SecondsSince(start) * 1e6);
  }
  std::sort(naive_micros.begin(), naive_micros.end());
  Print(name.c_str(), "naive_0.8M_blocks_1_holder", "lookup_p50_us", naive_micros[100]);

  // How long a worker's leaving keeps others from the index, and how long it takes altogether.
  auto start = SteadyClock::now();
  index.Leave(seats[1]);
  Print(name.c_str(), "baton", "leave_us", SecondsSince(start) * 1e6);
  start = SteadyClock::now();
  while (index.Tidy(1 << 16)) {
  }
  Print(name.c_str(), "baton", "sweep_all_records_ms", SecondsSince(start) * 1e3);
}

}  // namespace
}  // namespace baton::router

namespace {

// In a process of its own: memory is counted from a clean start.
void Apart(const std::function<void()>& run) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    run();
    std::fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  bool all = true;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) baton::router::quick = true;
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) threads = std::atoi(argv[++i]);
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      if (std::strcmp(argv[++i], "shared") != 0) {
        std::fprintf(stderr, "kv_index_bench: --only %s: expected shared\n", argv[i]);
        return 2;
      }
      all = false;
    }
  }
  std::printf("[\n");
  Apart([] { baton::router::RunShared(); });
  if (all) {
    Apart([&] { baton::router::RunThreads(threads); });
    Apart([] { baton::router::RunLarge(0); });
    Apart([] { baton::router::RunLarge(7); });
  }
  std::printf("  {\"threads\": %d}\n]\n", threads);
}
