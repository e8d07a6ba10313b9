#include "tests/overload/load_driver.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "tests/contract/router/raw_http.h"

namespace baton::bench {
namespace {

// Arrival times of a Poisson process.
std::vector<absl::Duration> Schedule(const LoadOptions& options) {
  std::mt19937 random(options.seed);
  std::exponential_distribution<double> gap(options.per_second);
  std::vector<absl::Duration> times;
  absl::Duration at;
  while ((at += absl::Seconds(gap(random))) < options.duration) times.push_back(at);
  return times;
}

class Driver {
 public:
  explicit Driver(const LoadOptions& options) : options_(options), due_(Schedule(options)) {}

  LoadResult Run() {
    begin_ = absl::Now() + absl::Milliseconds(50);
    std::vector<std::thread> threads;
    for (int i = 0; i < options_.threads; ++i) threads.emplace_back([this] { Client(); });
    for (std::thread& thread : threads) thread.join();
    return std::move(result_);
  }

 private:
  void Client() {
    auto http = std::make_unique<router::RawHttp>(options_.address);
    for (size_t i = next_++; i < due_.size(); i = next_++) {
      const absl::Time due = begin_ + due_[i];
      absl::SleepFor(due - absl::Now());
      const absl::Duration late = absl::Now() - due;
      if (!Ask(*http, i, due)) http = std::make_unique<router::RawHttp>(options_.address);
      absl::MutexLock lock(&mutex_);
      result_.late_most = std::max(result_.late_most, late);
    }
  }

  // False: the connection is of no use any more.
  bool Ask(router::RawHttp& http, size_t number, absl::Time due) {
    // Spread evenly: the share is exact.
    const auto urgent_up_to = [&](size_t i) {
      return static_cast<size_t>(static_cast<double>(i) * options_.urgent_share);
    };
    const bool urgent = urgent_up_to(number + 1) > urgent_up_to(number);
    const std::string body = fmt::format(
        R"({{"prompt":"{:08}{}","max_tokens":{},"priority":{},"stream":true}})", number,
        std::string(options_.prompt_characters, 'x'), options_.max_tokens, urgent ? -1 : 0);
    if (!http.Write(router::RawRequest("POST", "/v1/completions", body))) return Note(false);
    const std::string head = http.ReadUntil("\r\n\r\n");
    const absl::Duration to_head = absl::Now() - due;
    if (head.starts_with("HTTP/1.1 200")) {
      // The head comes with the first token.
      const std::string rest = http.ReadUntil("data: [DONE]\n\n");
      const bool whole = rest.ends_with("[DONE]\n\n") && !http.ReadUntil("\r\n0\r\n\r\n").empty();
      absl::MutexLock lock(&mutex_);
      (urgent ? result_.urgent_ttft : result_.ttft).push_back(to_head);
      result_.total.push_back(absl::Now() - due);
      return whole;
    }
    if (!head.starts_with("HTTP/1.1 429") && !head.starts_with("HTTP/1.1 503")) return Note(false);
    const std::string body_of_error = http.ReadUntil("}}");
    const bool displaced = body_of_error.find("queue_displaced") != std::string::npos;
    absl::MutexLock lock(&mutex_);
    (displaced ? result_.displaced : result_.refusal).push_back(absl::Now() - due);
    if (head.find("Retry-After: ") == std::string::npos) ++result_.without_retry_after;
    return true;
  }

  bool Note(bool ok) {
    absl::MutexLock lock(&mutex_);
    ++result_.failed;
    return ok;
  }

  const LoadOptions options_;
  const std::vector<absl::Duration> due_;
  absl::Time begin_;
  std::atomic<size_t> next_ = 0;
  absl::Mutex mutex_;
  LoadResult result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

LoadResult Drive(const LoadOptions& options) { return Driver(options).Run(); }

absl::Duration Quantile(std::vector<absl::Duration> times, double q) {
  if (times.empty()) return absl::ZeroDuration();
  std::sort(times.begin(), times.end());
  return times[static_cast<size_t>(q * static_cast<double>(times.size() - 1))];
}

}  // namespace baton::bench
