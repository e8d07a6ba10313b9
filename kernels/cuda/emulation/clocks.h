#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::kernels::emulation {

// When a thread did something, for the question whether something else came surely before it: the
// number of barriers that its block and its warp have passed, how often it has told others
// (Clocks), and how often it has fenced its writes for the asynchronous engines.
struct Moment {
  uint32_t thread = 0;
  uint32_t block_barriers = 0;
  uint32_t warp_barriers = 0;
  uint32_t releases = 0;
  uint32_t fences = 0;
  uint32_t warp() const { return thread / 32; }
};

// What is known of every thread: it is known what it did while it had released less often than
// this.
using Clock = std::vector<uint32_t>;

// Orders that come from mbarriers, where some threads wait for others: every thread's clock. Costs
// nothing in blocks that have no mbarrier.
class Clocks {
 public:
  void Reset() { clocks_.clear(); }
  // Nobody knows anything of the others, except by the block's and the warp's barriers.
  void Begin(uint32_t threads) {
    if (clocks_.empty()) clocks_.assign(threads, Clock(threads, 0));
  }
  bool running() const { return !clocks_.empty(); }

  // Adds to `to` what the thread knows and all that it has done; what it does from now on is not in
  // it.
  void Release(Moment& thread, Clock* to);
  void Acquire(uint32_t thread, const Clock& from) { Join(from, &clocks_[thread]); }
  bool Knows(uint32_t thread, const Moment& earlier) const {
    return running() && clocks_[thread][earlier.thread] > earlier.releases;
  }

  static void Join(const Clock& from, Clock* to);

 private:
  std::vector<Clock> clocks_;
};

}  // namespace baton::kernels::emulation
