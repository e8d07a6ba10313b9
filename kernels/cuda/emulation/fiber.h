#pragma once

#include <cstddef>
#include <functional>

namespace baton::kernels::emulation {

// A function with a stack of its own, run in turns: Resume() runs it until it calls Pause() or
// returns. All fibers of a process belong to one thread. Stacks come from a pool that only grows,
// each with a page behind its end that nobody may touch.
//
// A fiber may be destroyed while paused: nothing on its stack is destroyed then, so bodies hold
// plain values only.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Requires that no earlier body is under way, or that it may be abandoned.
  void Start(std::function<void()> body);
  void Resume();
  bool done() const { return done_; }

  // From inside the body: back to the caller of Resume().
  static void Pause();

 private:
  static void Enter();
  void Loop();

  std::byte* stack_;  // lowest address that may be used
  void* stack_pointer_ = nullptr;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
  std::function<void()> body_;
  bool done_ = true;
};

}  // namespace baton::kernels::emulation
