#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace baton::router {

// When may memory that readers could still be looking at be used again? Readers announce a visit
// and never wait; the one writer advances an epoch whenever the visits of the epoch before last are
// over. What was unlinked in epoch e is seen by nobody from epoch e + 2 on.
class ReaderEpochs {
 public:
  // As long as this lives, nothing that was reachable since its start is reused. Any thread; keep
  // it short (microseconds).
  class Visit {
   public:
    explicit Visit(const ReaderEpochs& epochs);
    ~Visit() { readers_.fetch_sub(1, std::memory_order_release); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    std::atomic<int64_t>& readers_;
  };

  // The rest is the writer's.
  uint64_t epoch() const { return epoch_.load(std::memory_order_relaxed); }
  // One epoch on, if no visit stands in the way.
  void TryAdvance();
  bool Unseen(uint64_t unlinked_in) const { return epoch() >= unlinked_in + 2; }

 private:
  static constexpr size_t kStripes = 32;  // threads beyond that share counters
  struct alignas(64) Stripe {
    std::array<std::atomic<int64_t>, 2> readers{};  // by parity of the epoch
  };
  mutable std::array<Stripe, kStripes> stripes_;
  std::atomic<uint64_t> epoch_ = 2;
};

// Things that were unlinked, in order, until they are unseen. The writer's.
template <typename Thing>
class Unlinked {
 public:
  void Add(Thing thing, const ReaderEpochs& epochs) {
    things_.emplace_back(epochs.epoch(), std::move(thing));
  }
  std::optional<Thing> TakeUnseen(const ReaderEpochs& epochs) {
    if (things_.empty() || !epochs.Unseen(things_.front().first)) return std::nullopt;
    Thing thing = std::move(things_.front().second);
    things_.pop_front();
    return thing;
  }
  size_t size() const { return things_.size(); }

 private:
  std::deque<std::pair<uint64_t, Thing>> things_;
};

}  // namespace baton::router
