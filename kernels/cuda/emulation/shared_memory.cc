#include "kernels/cuda/emulation/shared_memory.h"

#include <string>

#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"

namespace baton::kernels::emulation {
namespace {

// Whether something barred everything of `earlier`'s thread up to then from what `now` does.
bool IsOrdered(const Moment& earlier, const Moment& now) {
  if (earlier.thread == now.thread || earlier.block_barriers < now.block_barriers) return true;
  if (earlier.warp() == now.warp() && earlier.warp_barriers < now.warp_barriers) return true;
  return BlockClocks().Knows(now.thread, earlier);
}

bool Complain(const char* what, const Moment& earlier) {
  Report(ViolationKind::kRace, std::string("shared memory ") + what + " thread " +
                                   std::to_string(earlier.thread) +
                                   " with no barrier in between, " + WhereNow());
  return false;
}

}  // namespace

void SharedMemory::Reset(size_t bytes) {
  data_.assign(bytes, std::byte{0xff});
  shadow_.assign((bytes + kGranule - 1) / kGranule, Shadow());
  products_.clear();
}

// Stops at the first granule with a complaint: the others of one access say the same.
template <typename Visit>
void SharedMemory::ForEach(size_t offset, size_t bytes, Visit visit) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    if (!visit(shadow_[i])) return;
  }
}

void SharedMemory::CheckRead(size_t offset, size_t bytes, const Moment& now) {
  ForEach(offset, bytes, [&](Shadow& shadow) {
    if (shadow.state == State::kEmpty) {
      Report(ViolationKind::kUninitialised,
             "shared memory read before it was written, " + WhereNow());
      return false;
    }
    if (shadow.state == State::kArriving) {
      return Complain("read while a copy into it is under way, begun by", shadow.write);
    }
    if (!IsOrdered(shadow.write, now)) return Complain("read that was written by", shadow.write);
    const bool same_epoch =
        shadow.readers != Readers::kNone && shadow.read.block_barriers == now.block_barriers;
    if (!same_epoch) {
      shadow.readers = Readers::kOne;
    } else if (shadow.read.warp() != now.warp() || shadow.readers == Readers::kBlock) {
      shadow.readers = Readers::kBlock;
    } else if (shadow.read.thread != now.thread) {
      shadow.readers = Readers::kWarp;
    }
    shadow.read = now;
    return true;
  });
}

bool SharedMemory::IsAfterReads(const Shadow& shadow, const Moment& now) {
  if (shadow.readers == Readers::kNone || shadow.read.block_barriers < now.block_barriers) {
    return true;
  }
  bool ordered = false;
  if (shadow.readers == Readers::kOne) {
    ordered = IsOrdered(shadow.read, now);
  } else if (shadow.readers == Readers::kWarp) {
    ordered = shadow.read.warp() == now.warp() && shadow.read.warp_barriers < now.warp_barriers;
  }
  return ordered || Complain("written that was read by", shadow.read);
}

bool SharedMemory::MayWrite(const Shadow& shadow, const Moment& now) {
  if (shadow.state == State::kArriving) {
    return Complain("written while a copy into it is under way, begun by", shadow.write);
  }
  if (shadow.state != State::kEmpty && !IsOrdered(shadow.write, now)) {
    return Complain("written that was also written by", shadow.write);
  }
  return IsAfterReads(shadow, now);
}

void SharedMemory::WriteAfterProducts(size_t offset, size_t bytes, const Moment& now) {
  if (products_.empty()) return;
  for (size_t i = offset / kChunk; i * kChunk < offset + bytes; ++i) {
    ProductReads& reads = products_[i];
    for (uint32_t warp = 0; warp < kWarpsMax; ++warp) {
      if (reads.releases[warp] == 0 || reads.block_barriers < now.block_barriers) continue;
      const Moment read = {.thread = warp * 32,
                           .block_barriers = reads.block_barriers,
                           .releases = reads.releases[warp] - 1};
      if (now.warp() != warp && !BlockClocks().Knows(now.thread, read)) {
        Complain("written that a product reads, of the warp of", read);
        break;
      }
    }
    reads = {};
  }
}

void SharedMemory::CheckProductRead(size_t offset, const Moment& now) {
  if (products_.empty()) products_.resize(data_.size() / kChunk + 1);
  ForEach(offset, kChunk, [&](Shadow& shadow) {
    if (shadow.state == State::kArriving) {
      return Complain("read by a product while a copy into it is under way, begun by",
                      shadow.write);
    }
    if (shadow.state == State::kEmpty) return true;
    if (!IsOrdered(shadow.write, now)) {
      return Complain("read by a product that was written by", shadow.write);
    }
    if (!shadow.by_engine && shadow.write.fences == MomentOf(shadow.write.thread).fences) {
      return Complain("read by a product, not fenced since it was written by", shadow.write);
    }
    return true;
  });
  ProductReads& reads = products_[offset / kChunk];
  reads.releases[now.warp()] = now.releases + 1;
  reads.block_barriers = now.block_barriers;
}

void SharedMemory::CheckWrite(size_t offset, size_t bytes, const Moment& now) {
  WriteAfterProducts(offset, bytes, now);
  ForEach(offset, bytes, [&](Shadow& shadow) {
    const bool fine = MayWrite(shadow, now);
    shadow = {.write = now, .state = State::kWritten};
    return fine;
  });
}

void SharedMemory::CheckAtomic(size_t offset, size_t bytes, const Moment& now) {
  ForEach(offset, bytes, [&](Shadow& shadow) {
    if (shadow.state == State::kEmpty) {
      Report(ViolationKind::kUninitialised,
             "atomic on shared memory that was never written, " + WhereNow());
      return false;
    }
    const bool fine =
        shadow.state == State::kAtomic ? IsAfterReads(shadow, now) : MayWrite(shadow, now);
    if (!fine) return false;
    shadow = {.write = now, .state = State::kAtomic};
    return true;
  });
}

void SharedMemory::BeginCopy(size_t offset, size_t bytes, const Moment& now) {
  WriteAfterProducts(offset, bytes, now);
  ForEach(offset, bytes, [&](Shadow& shadow) {
    const bool fine = MayWrite(shadow, now);
    shadow = {.write = now, .state = State::kArriving};
    return fine;
  });
}

void SharedMemory::EndCopy(size_t offset, size_t bytes, const Moment& now) {
  ForEach(offset, bytes, [&](Shadow& shadow) {
    shadow = {.write = now, .state = State::kWritten};
    return true;
  });
}

void SharedMemory::EndBulkCopy(size_t offset, const Moment& ended) {
  ForEach(offset, kChunk, [&](Shadow& shadow) {
    shadow = {.write = ended, .state = State::kWritten, .by_engine = true};
    return true;
  });
}

}  // namespace baton::kernels::emulation
