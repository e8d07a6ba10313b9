#include "kernels/cuda/emulation/phase_barriers.h"

#include <cstring>
#include <string>

#include "kernels/check.h"
#include "kernels/cuda/emulation/device_memory.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/primitives/swizzle.cuh"

namespace baton::kernels::emulation {
namespace {

constexpr size_t kChunk = 16;

bool Knows(const Moment& earlier, const Moment& now) {
  return earlier.thread == now.thread || earlier.block_barriers < now.block_barriers ||
         BlockClocks().Knows(now.thread, earlier);
}

}  // namespace

void PhaseBarriers::Make(size_t at, uint32_t arrivals) {
  const uint32_t threads = Here().shape->threads, engine = threads + uint32_t(barriers_.size());
  KERNELS_CHECK(barriers_.size() < kBarriersMax);
  BlockClocks().Begin(threads + kBarriersMax);
  barriers_[at] = {.engine = engine, .made = Now(), .arrivals = arrivals, .missing = arrivals};
}

PhaseBarriers::Barrier* PhaseBarriers::Find(size_t at) {
  const auto found = barriers_.find(at);
  if (found == barriers_.end()) {
    Report(ViolationKind::kUninitialised, "an mbarrier that nobody has made, " + WhereNow());
    return nullptr;
  }
  if (!Knows(found->second.made, Now())) {
    Report(ViolationKind::kRace, "an mbarrier that thread " +
                                     std::to_string(found->second.made.thread) +
                                     " made with no barrier in between, " + WhereNow());
  }
  return &found->second;
}

void PhaseBarriers::Arrive(size_t at, uint32_t expected_bytes) {
  Barrier* barrier = Find(at);
  if (barrier == nullptr) return;
  MayYield();
  if (barrier->missing == 0) {
    return Report(ViolationKind::kDivergence, "one arrival too many at an mbarrier, " + WhereNow());
  }
  ReleaseTo(&barrier->told);
  barrier->expected_bytes += expected_bytes;
  --barrier->missing;
  EndPhaseIfDone(*barrier);
}

void PhaseBarriers::EndPhaseIfDone(Barrier& barrier) {
  const int64_t begun = int64_t(barrier.copies.size() * kChunk);
  if (barrier.missing > 0 || begun < barrier.expected_bytes) return;
  if (begun > barrier.expected_bytes) {
    Report(ViolationKind::kResources, "an mbarrier was told of " +
                                          std::to_string(barrier.expected_bytes) + " bytes, and " +
                                          std::to_string(begun) + " came, " + WhereNow());
  }
  // No barrier of the block's threads says that an engine is done.
  const Moment ended = {
      .thread = barrier.engine, .block_barriers = UINT32_MAX, .releases = barrier.phases_ended};
  for (const Copy& copy : barrier.copies) {
    std::byte* to = BlockShared().data() + copy.to;
    copy.from == nullptr ? std::memset(to, 0, kChunk) : std::memcpy(to, copy.from, kChunk);
    BlockShared().EndBulkCopy(copy.to, ended);
  }
  barrier.copies.clear();
  barrier.expected_bytes = 0;
  barrier.missing = barrier.arrivals;
  ++barrier.phases_ended;
  if (barrier.told.size() > barrier.engine) barrier.told[barrier.engine] = barrier.phases_ended;
  Clocks::Join(barrier.told, &barrier.known);
  Wake(&barrier);
}

void PhaseBarriers::Wait(size_t at, uint32_t parity) {
  Barrier* barrier = Find(at);
  if (barrier == nullptr) return;
  MayYield();
  while (barrier->phases_ended % 2 == parity) WaitOn("an mbarrier's phase", barrier);
  if (!barrier->known.empty()) BlockClocks().Acquire(Here().thread, barrier->known);
}

void PhaseBarriers::CopyBox(const cuda::MatrixBoxes& matrix, size_t to, int32_t column, int32_t row,
                            size_t at) {
  Barrier* barrier = Find(at);
  if (barrier == nullptr) return;
  MayYield();
  const size_t row_bytes = size_t(matrix.box_columns) * 2;
  const size_t box_bytes = size_t(matrix.box_rows) * row_bytes;
  // The pattern of a swizzle repeats after eight of its rows, and is one of addresses.
  if (to % (8 * row_bytes) != 0) {
    Report(ViolationKind::kMisaligned, "a box's place in shared memory, " + WhereNow());
  }
  if (to + box_bytes > BlockShared().bytes()) {
    return Report(ViolationKind::kOutOfBounds, "a box beyond shared memory, " + WhereNow());
  }
  Allocation* allocation = Allocation::Of(matrix.base);
  const Moment begun = Now();
  for (uint32_t r = 0; r < matrix.box_rows; ++r) {
    for (uint32_t c = 0; c < matrix.box_columns; c += kChunk / 2) {
      const int64_t from_row = int64_t{row} + r, from_column = int64_t{column} + c;
      const bool is_there = from_row >= 0 && from_row < int64_t(matrix.rows) && from_column >= 0 &&
                            from_column < int64_t(matrix.columns);
      const size_t place =
          cuda::SwizzledAddress(uint32_t(to + r * row_bytes + c * 2), uint32_t(row_bytes));
      const std::byte* from = nullptr;
      if (is_there) {
        from = static_cast<const std::byte*>(matrix.base) + size_t(from_row) * matrix.row_bytes +
               size_t(from_column) * 2;
        if (allocation == nullptr || from + kChunk > allocation->data() + allocation->bytes()) {
          return Report(ViolationKind::kOutOfBounds, "a box beyond device memory, " + WhereNow());
        }
        allocation->CheckBulkRead(size_t(from - allocation->data()), kChunk);
      }
      BlockShared().BeginCopy(place, kChunk, begun);
      barrier->copies.push_back({place, from});
    }
  }
  ReleaseTo(&barrier->told);
  EndPhaseIfDone(*barrier);
}

void PhaseBarriers::ReportLeftovers() const {
  for (const auto& [at, barrier] : barriers_) {
    if (barrier.copies.empty()) continue;
    return Report(ViolationKind::kResources, "ended with boxes never waited for, " + WhereNow());
  }
}

}  // namespace baton::kernels::emulation
