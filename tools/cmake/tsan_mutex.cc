// Linked into every binary of the thread sanitizer's build. The distribution's Abseil is not
// instrumented, so the sanitizer does not see what absl::Mutex and absl::CondVar order and would
// call every use of them a race. These definitions stand in front of the library's: they call the
// real ones and tell the sanitizer.
//
// A condition is evaluated inside the real calls, by whichever thread holds the lock, after we have
// said that it is released: its reads are not looked at.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/base/config.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

#define TSAN_TEXT_INNER(x) #x
#define TSAN_TEXT(x) TSAN_TEXT_INNER(x)

// "_ZN4absl7debian35Mutex4LockEv" from "5Mutex4LockEv": the inline namespace differs between
// builds.
void* Find(const char* mangled_rest) {
  std::string name = "_ZN4absl";
#if ABSL_OPTION_USE_INLINE_NAMESPACE == 1
  const std::string inline_namespace = TSAN_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  name += std::to_string(inline_namespace.size()) + inline_namespace;
#endif
  name += mangled_rest;
  void* found = dlsym(RTLD_NEXT, name.c_str());
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_mutex: Abseil has no %s\n", name.c_str());
    std::abort();
  }
  return found;
}

class IgnoreReads {
 public:
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

// Calls Abseil's own definition: a member function is a function with `this` in front.
template <typename Result, typename... Args>
Result Real(void* function, Args... args) {
  IgnoreReads ignore;
  return reinterpret_cast<Result (*)(Args...)>(function)(args...);
}

}  // namespace

#define REAL(rest)                        \
  [] {                                    \
    static void* const real = Find(rest); \
    return real;                          \
  }()

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  Real<void>(REAL("5Mutex4LockEv"), this);
  __tsan_acquire(this);
}
void Mutex::Unlock() {
  __tsan_release(this);
  Real<void>(REAL("5Mutex6UnlockEv"), this);
}
bool Mutex::TryLock() {
  const bool locked = Real<bool>(REAL("5Mutex7TryLockEv"), this);
  if (locked) __tsan_acquire(this);
  return locked;
}
void Mutex::ReaderLock() {
  Real<void>(REAL("5Mutex10ReaderLockEv"), this);
  __tsan_acquire(this);
}
void Mutex::ReaderUnlock() {
  __tsan_release(this);
  Real<void>(REAL("5Mutex12ReaderUnlockEv"), this);
}
void Mutex::LockWhen(const Condition& condition) {
  Real<void>(REAL("5Mutex8LockWhenERKNS0_9ConditionE"), this, &condition);
  __tsan_acquire(this);
}
bool Mutex::LockWhenWithTimeout(const Condition& condition, absl::Duration timeout) {
  const bool met = Real<bool>(REAL("5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE"),
                              this, &condition, timeout);
  __tsan_acquire(this);
  return met;
}
void Mutex::Await(const Condition& condition) {
  __tsan_release(this);
  Real<void>(REAL("5Mutex5AwaitERKNS0_9ConditionE"), this, &condition);
  __tsan_acquire(this);
}
bool Mutex::AwaitWithTimeout(const Condition& condition, absl::Duration timeout) {
  __tsan_release(this);
  const bool met = Real<bool>(REAL("5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE"),
                              this, &condition, timeout);
  __tsan_acquire(this);
  return met;
}
bool Mutex::AwaitWithDeadline(const Condition& condition, absl::Time deadline) {
  __tsan_release(this);
  const bool met = Real<bool>(REAL("5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE"), this,
                              &condition, deadline);
  __tsan_acquire(this);
  return met;
}
void CondVar::Wait(Mutex* mutex) {
  __tsan_release(mutex);
  Real<void>(REAL("7CondVar4WaitEPNS0_5MutexE"), this, mutex);
  __tsan_acquire(mutex);
}
bool CondVar::WaitWithTimeout(Mutex* mutex, absl::Duration timeout) {
  __tsan_release(mutex);
  const bool late = Real<bool>(REAL("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE"), this,
                               mutex, timeout);
  __tsan_acquire(mutex);
  return late;
}
bool CondVar::WaitWithDeadline(Mutex* mutex, absl::Time deadline) {
  __tsan_release(mutex);
  const bool late =
      Real<bool>(REAL("7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE"), this, mutex, deadline);
  __tsan_acquire(mutex);
  return late;
}

ABSL_NAMESPACE_END
}  // namespace absl
