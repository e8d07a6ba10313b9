#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::router {

// A worker's place in the index, from Join to Leave. A serial is never given out twice, so a seat
// kept for too long names nobody.
struct KvSeat {
  uint32_t index = 0;
  uint32_t serial = 0;  // 0: nobody
  friend bool operator==(const KvSeat&, const KvSeat&) = default;
};

// What a look-up found: for each worker the leading blocks of the prompt that it holds, and that it
// is expected to hold soon. Keep one and use it again: then a look-up allocates nothing.
class KvMatches {
 public:
  int32_t held(const KvSeat& seat) const { return Of(seat).held; }
  // At least held().
  int32_t expected(const KvSeat& seat) const { return Of(seat).expected; }
  // Seats with at least one block, held or expected.
  size_t num_seats() const { return num_seats_; }

  void Clear() {
    num_seats_ = 0;
    if (++round_ == 0) found_.assign(found_.size(), {}), ++round_;
  }
  void AddHeld(const KvSeat& seat, int32_t blocks) { Add(seat, blocks, blocks); }
  void AddExpected(const KvSeat& seat, int32_t blocks) { Add(seat, 0, blocks); }

 private:
  struct Found {
    uint32_t round = 0;  // of another one: nothing
    uint32_t serial = 0;
    int32_t held = 0;
    int32_t expected = 0;
  };
  Found Of(const KvSeat& seat) const {
    if (seat.index >= found_.size()) return {};
    const Found& found = found_[seat.index];
    return found.round == round_ && found.serial == seat.serial ? found : Found();
  }
  void Add(const KvSeat& seat, int32_t held, int32_t expected) {
    if (seat.index >= found_.size()) [[unlikely]] {
      found_.resize(seat.index + 1);
    }
    Found& found = found_[seat.index];
    const bool fresh = found.round != round_;
    num_seats_ += fresh;
    // A seat that changed hands during the look-up: the newer owner counts.
    if (fresh || found.serial < seat.serial) {
      found = {round_, seat.serial, held, expected};
    } else if (found.serial == seat.serial) {
      found.held = std::max(found.held, held);
      found.expected = std::max(found.expected, expected);
    }
  }

  std::vector<Found> found_;  // by seat index
  uint32_t round_ = 1;
  size_t num_seats_ = 0;
};

}  // namespace baton::router
