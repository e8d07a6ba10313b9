#pragma once

#include <algorithm>
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
  const std::vector<KvSeat>& seats() const { return seats_; }

  void Clear() {
    for (const KvSeat& seat : seats_) found_[seat.index] = {};
    seats_.clear();
  }
  void AddHeld(const KvSeat& seat, int32_t blocks) {
    if (Found* found = At(seat)) {
      found->held = std::max(found->held, blocks);
      found->expected = std::max(found->expected, blocks);
    }
  }
  void AddExpected(const KvSeat& seat, int32_t blocks) {
    if (Found* found = At(seat)) found->expected = std::max(found->expected, blocks);
  }

 private:
  struct Found {
    uint32_t serial = 0;
    int32_t held = 0;
    int32_t expected = 0;
  };
  Found Of(const KvSeat& seat) const {
    if (seat.index >= found_.size() || found_[seat.index].serial != seat.serial) return {};
    return found_[seat.index];
  }
  Found* At(const KvSeat& seat) {
    if (seat.index >= found_.size()) found_.resize(seat.index + 1);
    Found& found = found_[seat.index];
    if (found.serial == seat.serial) return &found;
    // A seat that changed hands during the look-up: the newer owner counts.
    if (found.serial > seat.serial) return nullptr;
    if (found.serial != 0) std::erase(seats_, KvSeat{seat.index, found.serial});
    seats_.push_back(seat);
    found = {.serial = seat.serial};
    return &found;
  }

  std::vector<Found> found_;  // by seat index
  std::vector<KvSeat> seats_;
};

}  // namespace baton::router
