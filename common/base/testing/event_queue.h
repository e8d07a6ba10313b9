#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace baton::simulation {

using Work = std::function<void()>;

// The one clock and the one queue of a simulation, and its dice: what happens, happens here, one
// event after the other, in an order that a seed alone decides. Equal times keep the order in which
// they were asked for.
class EventQueue : public Clock {
 public:
  explicit EventQueue(uint64_t seed) : random_(seed) {}

  // `label` names the event in the trace; it must outlive the queue.
  void After(absl::Duration delay, std::string_view label, Work work);
  // False: nothing left to do.
  bool RunNext();

  absl::Duration Monotonic() const override { return now_; }
  absl::Time Wall() const override { return absl::FromUnixSeconds(1'700'000'000) + now_; }

  // Both inclusive.
  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool Chance(double percent) { return Uniform(0, 99'999) < percent * 1000; }
  absl::Duration Between(absl::Duration low, absl::Duration high);

  // A hash of every event so far, of its time, and of what was noted.
  uint64_t trace() const { return trace_; }
  void Note(uint64_t value);
  int64_t events() const { return events_; }
  std::string_view label() const { return label_; }  // of the event under way

 private:
  struct Event {
    absl::Duration at;
    uint64_t number = 0;
    std::string_view label;
    Work work;
    bool operator<(const Event& other) const {  // the earliest is the greatest: std's heap
      return at != other.at ? at > other.at : number > other.number;
    }
  };
  std::vector<Event> heap_;
  std::mt19937_64 random_;
  absl::Duration now_ = absl::Seconds(1);
  uint64_t next_number_ = 0;
  int64_t events_ = 0;
  uint64_t trace_ = 0;
  std::string_view label_;
};

}  // namespace baton::simulation
