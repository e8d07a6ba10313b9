#include "kernels/cuda/emulation/grid.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/emulation/fiber.h"
#include "kernels/cuda/emulation/phase_barriers.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/emulation/warpgroups.h"

namespace baton::kernels::emulation {
namespace {

struct PendingCopy {
  size_t offset;
  const std::byte* source;
  size_t bytes;
};

struct Thread {
  Coordinates at;
  Moment moment;
  std::vector<PendingCopy> copies;              // not committed
  std::deque<std::vector<PendingCopy>> groups;  // committed
  const char* waits_for = nullptr;              // null: ready
  const void* waits_on = nullptr;               // what WaitOn() was given
};

struct Warp {
  WarpSlots slots;
  const char* meets_for = nullptr;
  uint32_t arrived = 0;
};

// One block at a time; the threads' state and stacks are used again by the next.
class Block {
 public:
  void Run(const char* kernel, const cuda::LaunchShape& shape, const Coordinates& at,
           std::mt19937_64& random, uint64_t order, const std::function<void()>& body);

  Thread& self() { return threads_[current_]; }
  Warp& warp() { return warps_[current_ / 32]; }
  SharedMemory& shared() { return shared_; }
  Clocks& clocks() { return clocks_; }
  PhaseBarriers& barriers() { return barriers_; }
  Warpgroups& warpgroups() { return warpgroups_; }
  Thread& thread(uint32_t index) { return threads_[index]; }
  void Wake(const void* object);
  bool running() const { return running_; }
  const char* kernel() const { return kernel_; }

  void Yield();
  void WaitFor(const char* what);
  void Barrier();
  void MeetWarp(const char* name, const void* in, size_t in_bytes, void* out, size_t out_bytes,
                void (*combine)(WarpSlots&));

 private:
  void Begin(const cuda::LaunchShape& shape, const Coordinates& at,
             const std::function<void()>& body);
  std::vector<uint32_t> NextRound();
  void ReportStuck() const;
  void ReportLeftovers();

  const char* kernel_ = "";
  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Warp> warps_;
  SharedMemory shared_;
  Clocks clocks_;
  PhaseBarriers barriers_;
  Warpgroups warpgroups_;
  std::mt19937_64* random_ = nullptr;
  uint64_t order_ = 0;
  uint32_t current_ = 0;
  uint32_t at_barrier_ = 0;
  bool running_ = false;
};

Block block;
uint64_t order = 0;
uint32_t launches = 0;
double seconds_passed = 0;
uint32_t block_index = 0;
std::vector<RecordedLaunch>* recording = nullptr;

void Block::Begin(const cuda::LaunchShape& shape, const Coordinates& at,
                  const std::function<void()>& body) {
  threads_.assign(shape.threads, Thread());
  warps_.resize(shape.threads / 32);
  for (Warp& warp : warps_) warp.meets_for = nullptr, warp.arrived = 0;
  while (fibers_.size() < shape.threads) fibers_.push_back(std::make_unique<Fiber>());
  for (uint32_t t = 0; t < shape.threads; ++t) {
    threads_[t].at = at;
    threads_[t].at.thread = t;
    threads_[t].moment.thread = t;
    fibers_[t]->Start([&body] { body(); });
  }
  at_barrier_ = 0;
  shared_.Reset(shape.shared_bytes);
  clocks_.Reset();
  barriers_.Reset();
  warpgroups_.Reset(shape.threads);
}

void Block::Run(const char* kernel, const cuda::LaunchShape& shape, const Coordinates& at,
                std::mt19937_64& random, uint64_t order, const std::function<void()>& body) {
  kernel_ = kernel;
  random_ = &random;
  order_ = order;
  Begin(shape, at, body);
  running_ = true;
  for (std::vector<uint32_t> round = NextRound(); !round.empty(); round = NextRound()) {
    for (const uint32_t t : round) {
      current_ = t;
      fibers_[t]->Resume();
    }
  }
  ReportLeftovers();
  running_ = false;
}

std::vector<uint32_t> Block::NextRound() {
  std::vector<uint32_t> round;
  for (uint32_t t = 0; t < threads_.size(); ++t) {
    if (!fibers_[t]->done() && threads_[t].waits_for == nullptr) round.push_back(t);
  }
  if (order_ == 1) std::reverse(round.begin(), round.end());
  if (order_ > 1) std::shuffle(round.begin(), round.end(), *random_);
  return round;
}

void Block::Yield() {
  if (order_ > 1 && (*random_)() % 32 == 0) Fiber::Pause();
}

void Block::WaitFor(const char* what) {
  Thread& thread = self();
  thread.waits_for = what;
  while (thread.waits_for != nullptr) Fiber::Pause();
}

void Block::Wake(const void* object) {
  for (Thread& thread : threads_) {
    if (thread.waits_on == object) thread.waits_for = nullptr, thread.waits_on = nullptr;
  }
}

void Block::Barrier() {
  if (++at_barrier_ < threads_.size()) return WaitFor("the block's barrier");
  at_barrier_ = 0;
  for (Thread& thread : threads_) {
    thread.waits_for = nullptr;
    ++thread.moment.block_barriers;
  }
}

void Block::MeetWarp(const char* name, const void* in, size_t in_bytes, void* out, size_t out_bytes,
                     void (*combine)(WarpSlots&)) {
  const uint32_t lane = current_ % 32, first = current_ - lane;
  Warp& warp = this->warp();
  if (warp.arrived > 0 && std::strcmp(warp.meets_for, name) != 0) {
    Report(ViolationKind::kDivergence, std::string("lanes of a warp meet for ") + warp.meets_for +
                                           " and for " + name + ", " + WhereNow());
  }
  warp.meets_for = name;
  std::memcpy(warp.slots.lanes[lane].in, in, in_bytes);
  if (++warp.arrived < 32) {
    WaitFor(name);
  } else {
    warp.arrived = 0;
    combine(warp.slots);
    for (uint32_t t = first; t < first + 32; ++t) threads_[t].waits_for = nullptr;
  }
  // Nobody overwrites `out` before this lane has come to the next meeting.
  std::memcpy(out, warp.slots.lanes[lane].out, out_bytes);
}

void Block::ReportStuck() const {
  uint32_t ended = 0, stuck = 0;
  const char* what = nullptr;
  for (uint32_t t = 0; t < threads_.size(); ++t) {
    if (fibers_[t]->done()) {
      ++ended;
    } else if (++stuck == 1) {
      what = threads_[t].waits_for;
    }
  }
  if (stuck == 0) return;
  Report(ViolationKind::kDivergence, std::to_string(stuck) + " threads wait, the first for " +
                                         what + ", " + std::to_string(ended) + " have ended, " +
                                         WhereNow());
}

void Block::ReportLeftovers() {
  current_ = 0;
  ReportStuck();
  barriers_.ReportLeftovers();
  warpgroups_.ReportLeftovers();
  for (current_ = 0; current_ < threads_.size(); ++current_) {
    if (self().copies.empty() && self().groups.empty()) continue;
    Report(ViolationKind::kResources, "ended with copies never waited for, " + WhereNow());
    break;
  }
}

// A barrier of the warp is a meeting at which nothing is exchanged but what is known.
void JoinClocksOfWarp(WarpSlots&) {
  if (!block.clocks().running()) return;
  const uint32_t first = Here().thread / 32 * 32;
  Clock joined;
  for (uint32_t t = first; t < first + 32; ++t) {
    block.clocks().Release(block.thread(t).moment, &joined);
  }
  for (uint32_t t = first; t < first + 32; ++t) block.clocks().Acquire(t, joined);
}

void Land(const std::vector<PendingCopy>& group) {
  for (const PendingCopy& copy : group) {
    std::memcpy(block.shared().data() + copy.offset, copy.source, copy.bytes);
    block.shared().EndCopy(copy.offset, copy.bytes, Now());
  }
}

}  // namespace

void SetOrder(uint64_t seed) { order = seed; }
void RecordLaunches(std::vector<RecordedLaunch>* launches) { recording = launches; }

double SecondsPassed() { return seconds_passed; }
void PassSeconds(double seconds) { seconds_passed += seconds; }

void RunGrid(const char* kernel, const cuda::LaunchShape& shape,
             const std::function<void()>& body) {
  KERNELS_CHECK(shape.threads > 0 && shape.threads <= 1024 && shape.threads % 32 == 0);
  KERNELS_CHECK(shape.grid_x > 0 && shape.grid_y > 0 && shape.grid_z > 0);
  KERNELS_CHECK(shape.grid_y <= 65535 && shape.grid_z <= 65535);
  if (recording != nullptr) return recording->push_back({kernel, shape, body});
  ++launches;
  PassSeconds(kLaunchSeconds);
  std::mt19937_64 random(order);
  const uint32_t blocks = shape.grid_x * shape.grid_y * shape.grid_z;
  std::vector<uint32_t> sequence(blocks);
  for (uint32_t i = 0; i < blocks; ++i) sequence[i] = order == 1 ? blocks - 1 - i : i;
  if (order > 1) std::shuffle(sequence.begin(), sequence.end(), random);
  for (const uint32_t i : sequence) {
    block_index = i;
    const Coordinates at = {.block_x = i % shape.grid_x,
                            .block_y = i / shape.grid_x % shape.grid_y,
                            .block_z = i / shape.grid_x / shape.grid_y,
                            .shape = &shape};
    block.Run(kernel, shape, at, random, order, body);
  }
}

const Coordinates& Here() { return block.self().at; }
Moment Now() { return block.self().moment; }
Moment MomentOf(uint32_t thread) { return block.thread(thread).moment; }
Clocks& BlockClocks() { return block.clocks(); }
PhaseBarriers& BlockBarriers() { return block.barriers(); }
Warpgroups& BlockWarpgroups() { return block.warpgroups(); }
void ReleaseTo(Clock* clock) { block.clocks().Release(block.self().moment, clock); }
void FenceForEngines() { ++block.self().moment.fences; }

void WaitOn(const char* what, const void* object) {
  block.self().waits_on = object;
  block.WaitFor(what);
}
void Wake(const void* object) { block.Wake(object); }
SharedMemory& BlockShared() { return block.shared(); }
uint32_t LaunchNow() { return block.running() ? launches : 0; }
uint32_t BlockNow() { return block_index; }

std::string WhereNow() {
  if (!block.running()) return "the host";
  const Coordinates& at = Here();
  return std::string("kernel ") + block.kernel() + ", block (" + std::to_string(at.block_x) + ", " +
         std::to_string(at.block_y) + ", " + std::to_string(at.block_z) + "), thread " +
         std::to_string(at.thread);
}

void MayYield() { block.Yield(); }
void BlockBarrier() { block.Barrier(); }

void WarpBarrier() {
  const char nothing = 0;
  char out;
  block.MeetWarp("the warp's barrier", &nothing, 1, &out, 1, JoinClocksOfWarp);
  ++block.self().moment.warp_barriers;
}

void WarpMeets(const char* name, const void* in, size_t in_bytes, void* out, size_t out_bytes,
               void (*combine)(WarpSlots&)) {
  block.MeetWarp(name, in, in_bytes, out, out_bytes, combine);
}

void BeginCopy(size_t offset, const std::byte* source, size_t bytes) {
  block.shared().BeginCopy(offset, bytes, Now());
  block.self().copies.push_back({offset, source, bytes});
}

void CommitCopies() {
  Thread& self = block.self();
  self.groups.push_back(std::move(self.copies));
  self.copies.clear();
}

void WaitCopies(uint32_t pending) {
  Thread& self = block.self();
  while (self.groups.size() > pending) {
    Land(self.groups.front());
    self.groups.pop_front();
  }
}

}  // namespace baton::kernels::emulation
