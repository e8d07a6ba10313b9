#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/emulation/shared_memory.h"
#include "kernels/cuda/launch/shape.h"

// Runs kernels on the host: blocks one after another, the threads of a block as fibers that take
// turns. Used by one thread of the process.
namespace baton::kernels::emulation {

// In which order blocks and threads take turns. 0: rising. 1: falling. Others: at random from this
// seed, threads also change places in the middle of what they do.
void SetOrder(uint64_t seed);

// Runs `body` once for every thread of the grid. What the kernel did wrong is in TakeViolations().
void RunGrid(const char* kernel, const cuda::LaunchShape& shape, const std::function<void()>& body);

// The device's own clock, which stands still but for launches: each takes kLaunchSeconds, and what
// a kernel adds to that.
constexpr double kLaunchSeconds = 10e-6;
double SecondsPassed();
void PassSeconds(double seconds);

// A launch as RunGrid was given it.
struct RecordedLaunch {
  const char* kernel;
  cuda::LaunchShape shape;
  std::function<void()> body;
};
// Until the next call: launches are added to the list instead of run. Null: they are run again.
void RecordLaunches(std::vector<RecordedLaunch>* launches);

// ---- What the primitives' emulated bodies use, from inside a kernel.

struct Coordinates {
  uint32_t thread = 0;
  uint32_t block_x = 0, block_y = 0, block_z = 0;
  const cuda::LaunchShape* shape = nullptr;
};
const Coordinates& Here();
Moment Now();
Moment MomentOf(uint32_t thread);  // now
Clocks& BlockClocks();
// The calling thread has told others what it did (Clocks::Release); has fenced its writes.
void ReleaseTo(Clock* clock);
void FenceForEngines();
SharedMemory& BlockShared();
// "kernel k, block (1, 0, 0), thread 7", or "the host".
std::string WhereNow();
// Launches are numbered from 1, blocks of a launch from 0; the host is launch 0.
uint32_t LaunchNow();
uint32_t BlockNow();

// Every access to memory passes here first: a place where another thread may take its turn.
void MayYield();

void BlockBarrier();
void WarpBarrier();

// Lets others take turns until somebody wakes those that wait on `object`.
void WaitOn(const char* what, const void* object);
void Wake(const void* object);

// What the 32 lanes of a warp bring to something they do together, and what each takes away.
struct WarpSlots {
  static constexpr size_t kBytes = 64;
  struct Slot {
    alignas(16) std::byte in[kBytes];
    alignas(16) std::byte out[kBytes];
  };
  Slot lanes[32];

  template <typename T>
  const T& In(uint32_t lane) const {
    static_assert(sizeof(T) <= kBytes);
    return *reinterpret_cast<const T*>(lanes[lane].in);
  }
  template <typename T>
  T& Out(uint32_t lane) {
    static_assert(sizeof(T) <= kBytes);
    return *reinterpret_cast<T*>(lanes[lane].out);
  }
};

// Waits for all lanes of the warp; the last one to come runs `combine` for all. Lanes that meet
// under different names have diverged.
void WarpMeets(const char* name, const void* in, size_t in_bytes, void* out, size_t out_bytes,
               void (*combine)(WarpSlots&));

// cp.async: `bytes` from `source` to an offset of the shared memory; lands when waited for.
void BeginCopy(size_t offset, const std::byte* source, size_t bytes);
void CommitCopies();
// Waits until at most `pending` of this thread's committed groups are under way.
void WaitCopies(uint32_t pending);

}  // namespace baton::kernels::emulation
