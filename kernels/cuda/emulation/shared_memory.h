#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::kernels::emulation {

// When a thread did something, for the question whether something else came surely before it: the
// number of barriers that its block and its warp have passed.
struct Moment {
  uint32_t thread = 0;
  uint32_t block_barriers = 0;
  uint32_t warp_barriers = 0;
  uint32_t warp() const { return thread / 32; }
};

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

 private:
  static constexpr size_t kGranule = 2;
  enum class Readers : uint8_t { kNone, kOne, kWarp, kBlock };  // since the last write
  enum class State : uint8_t { kEmpty, kWritten, kAtomic, kArriving };
  struct Shadow {
    Moment write;
    Moment read;  // the last one
    Readers readers = Readers::kNone;
    State state = State::kEmpty;
  };

  template <typename Visit>
  void ForEach(size_t offset, size_t bytes, Visit visit);
  // False, with a report, when the earlier reads (the last write too) are not ordered before `now`.
  static bool IsAfterReads(const Shadow& shadow, const Moment& now);
  static bool MayWrite(const Shadow& shadow, const Moment& now);

  std::vector<std::byte> data_;
  std::vector<Shadow> shadow_;
};

}  // namespace baton::kernels::emulation
