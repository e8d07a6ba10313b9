#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/emulation/clocks.h"

namespace baton::kernels::emulation {

// One block's shared memory, with the last write and the last reads of every two bytes. A read or
// write by another thread needs a barrier in between: that is checked on moments, so a missing
// barrier shows in whatever order the threads happened to run.
class SharedMemory {
 public:
  // A new block: nothing is written, every byte is 0xff.
  void Reset(size_t bytes);

  std::byte* data() { return data_.data(); }
  size_t bytes() const { return data_.size(); }

  // The range lies inside. Each reports what is wrong with the access.
  void CheckRead(size_t offset, size_t bytes, const Moment& now);
  void CheckWrite(size_t offset, size_t bytes, const Moment& now);
  // As a write, except that other atomics need no barrier in between.
  void CheckAtomic(size_t offset, size_t bytes, const Moment& now);
  // The beginning and the end of an asynchronous copy into the range: between the two nobody may
  // look at it.
  void BeginCopy(size_t offset, size_t bytes, const Moment& now);
  void EndCopy(size_t offset, size_t bytes, const Moment& now);

  // What the asynchronous engines do (TMA, wgmma), in chunks of 16 bytes. A copy by them has ended.
  void EndBulkCopy(size_t offset, const Moment& ended);
  // A product of the warps that `now` stands for has read the chunk. Bytes that nothing was written
  // to are not complained about: rows past the end are multiplied and masked. They are NaN here.
  void CheckProductRead(size_t offset, const Moment& now);

 private:
  static constexpr size_t kGranule = 2;
  enum class Readers : uint8_t { kNone, kOne, kWarp, kBlock };  // since the last write
  enum class State : uint8_t { kEmpty, kWritten, kAtomic, kArriving };
  struct Shadow {
    Moment write;
    Moment read;  // the last one
    Readers readers = Readers::kNone;
    State state = State::kEmpty;
    bool by_engine = false;  // the last write: nobody need fence it
  };
  static constexpr size_t kChunk = 16;
  static constexpr uint32_t kWarpsMax = 32;
  // Of a chunk, since the last write: up to when each warp's products have read it; 0: never.
  struct ProductReads {
    uint32_t releases[kWarpsMax] = {};
    uint32_t block_barriers = 0;
  };

  template <typename Visit>
  void ForEach(size_t offset, size_t bytes, Visit visit);
  // False, with a report, when the earlier reads (the last write too) are not ordered before `now`.
  static bool IsAfterReads(const Shadow& shadow, const Moment& now);
  static bool MayWrite(const Shadow& shadow, const Moment& now);
  // The same for products; what they have read before is forgotten.
  void WriteAfterProducts(size_t offset, size_t bytes, const Moment& now);

  std::vector<std::byte> data_;
  std::vector<Shadow> shadow_;
  std::vector<ProductReads> products_;  // empty until there is a product
};

}  // namespace baton::kernels::emulation
