#include "kernels/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <utility>
#include <vector>

#include "kernels/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what a call must keep (System V ABI), changes stacks, and returns on the other one.
extern "C" void BatonSwitchStacks(void** save_stack_pointer, void* load_stack_pointer);
asm(R"(
.text
.globl BatonSwitchStacks
.type BatonSwitchStacks, @function
BatonSwitchStacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size BatonSwitchStacks, .-BatonSwitchStacks
)");

namespace baton::kernels::emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;  // touched as far as used
constexpr size_t kGuardBytes = 4096;

Fiber* running = nullptr;
void* resumer_stack_pointer = nullptr;
std::vector<std::byte*> free_stacks;

std::byte* TakeStack() {
  if (!free_stacks.empty()) {
    std::byte* stack = free_stacks.back();
    free_stacks.pop_back();
    return stack;
  }
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  KERNELS_CHECK(memory != MAP_FAILED);
  KERNELS_CHECK(mprotect(memory, kGuardBytes, PROT_NONE) == 0);
  return static_cast<std::byte*>(memory) + kGuardBytes;
}

// AddressSanitizer is told of every change of stacks; elsewhere these do nothing.
#if defined(__SANITIZE_ADDRESS__)
const void* resumer_bottom = nullptr;
size_t resumer_bytes = 0;
void* resumer_fake_stack = nullptr;

void BeforeResume(const void* stack) {
  __sanitizer_start_switch_fiber(&resumer_fake_stack, stack, kStackBytes);
}
void AfterResume() { __sanitizer_finish_switch_fiber(resumer_fake_stack, nullptr, nullptr); }
void BeforePause(void** fake_stack) {
  __sanitizer_start_switch_fiber(fake_stack, resumer_bottom, resumer_bytes);
}
void AfterPause(void* fake_stack) {
  __sanitizer_finish_switch_fiber(fake_stack, &resumer_bottom, &resumer_bytes);
}
void ForgetFrames(const void* stack) { __asan_unpoison_memory_region(stack, kStackBytes); }
#else
void BeforeResume(const void*) {}
void AfterResume() {}
void BeforePause(void**) {}
void AfterPause(void*) {}
void ForgetFrames(const void*) {}
#endif

}  // namespace

Fiber::Fiber() : stack_(TakeStack()) {}

Fiber::~Fiber() {
  KERNELS_CHECK(running != this);
  free_stacks.push_back(stack_);
}

// A fiber whose body has ended waits in Loop() for the next one. The first time, and after a body
// that was abandoned, the stack is made to look as if Enter() had been about to be returned to: its
// address below six saved registers, and the alignment that a function finds at its entry.
void Fiber::Start(std::function<void()> body) {
  const bool is_in_loop = done_ && stack_pointer_ != nullptr;
  body_ = std::move(body);
  done_ = false;
  if (is_in_loop) return;
  ForgetFrames(stack_);
  fake_stack_ = nullptr;
  void** top = reinterpret_cast<void**>(stack_ + kStackBytes) - 2;
  *--top = nullptr;  // Enter() returns nowhere
  *--top = reinterpret_cast<void*>(&Fiber::Enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
}

void Fiber::Resume() {
  KERNELS_CHECK(running == nullptr && !done_);
  running = this;
  BeforeResume(stack_);
  BatonSwitchStacks(&resumer_stack_pointer, stack_pointer_);
  AfterResume();
  running = nullptr;
}

void Fiber::Pause() {
  Fiber* self = running;
  BeforePause(&self->fake_stack_);
  BatonSwitchStacks(&self->stack_pointer_, resumer_stack_pointer);
  AfterPause(self->fake_stack_);
}

void Fiber::Enter() {
  AfterPause(nullptr);
  running->Loop();
}

// Never left, so that AddressSanitizer keeps what it holds for this stack: to make that anew for
// every thread of every block took most of a test's time.
void Fiber::Loop() {
  for (;;) {
    body_();
    done_ = true;
    Pause();
  }
}

}  // namespace baton::kernels::emulation
