#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "kernels/cuda/emulation/clocks.h"
#include "kernels/cuda/launch/tensor_map.h"

namespace baton::kernels::emulation {

// One block's mbarriers, by where they lie in shared memory. A barrier's phase ends when as many
// threads have arrived as it was made for and all bytes that they announced have been copied; who
// waits for the phase's end knows then what they did before they arrived.
//
// Copies of boxes (TMA) are looked at when they are ordered and land when the phase ends: nobody
// may touch their places in between, and after it only who has waited for this barrier, or learnt
// from one who has.
class PhaseBarriers {
 public:
  void Reset() { barriers_.clear(); }

  void Make(size_t at, uint32_t arrivals);
  void Arrive(size_t at, uint32_t expected_bytes);
  void Wait(size_t at, uint32_t parity);
  // A box of the matrix, from (row, column) on, to shared memory in rows of the box, swizzled; what
  // lies outside the matrix is zero.
  void CopyBox(const cuda::MatrixBoxes& matrix, size_t to, int32_t column, int32_t row, size_t at);

  // Copies that nobody waited for.
  void ReportLeftovers() const;

 private:
  struct Copy {  // of 16 bytes
    size_t to;
    const std::byte* from;  // null: zeros
  };
  struct Barrier {
    uint32_t engine = 0;  // as which its copies write: a thread of their own in clocks
    Moment made;
    uint32_t arrivals = 0;  // of a phase
    uint32_t missing = 0;   // of this phase
    int64_t expected_bytes = 0;
    uint32_t phases_ended = 0;
    Clock told;   // by those who have arrived
    Clock known;  // to those who have waited
    std::vector<Copy> copies;
  };
  Barrier* Find(size_t at);
  void EndPhaseIfDone(Barrier& barrier);

  std::map<size_t, Barrier> barriers_;
  static constexpr uint32_t kBarriersMax = 64;
};

PhaseBarriers& BlockBarriers();

}  // namespace baton::kernels::emulation
