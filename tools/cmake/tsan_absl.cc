// ThreadSanitizer cannot see Abseil's locks when Abseil comes as a library built without it, and
// would call everything they guard a race. These definitions stand in front of the library's (a
// program's symbols win over a shared library's), call them, and say what they order. Only in
// thread-sanitizer builds.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

template <typename Function>
Function* Next(const char* mangled) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, mangled));
}

// Abseil evaluates the conditions of waiting threads in whoever unlocks, still under the lock.
class ConditionsAreRead {
 public:
  ConditionsAreRead() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~ConditionsAreRead() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

#define BATON_NEXT(name, type) static auto* const next = Next<type>("_ZN4absl7debian3" name)
#define BATON_NEXT_CONST(name, type) static auto* const next = Next<type>("_ZNK4absl7debian3" name)

void Mutex::Lock() {
  BATON_NEXT("5Mutex4LockEv", void(Mutex*));
  next(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  BATON_NEXT("5Mutex7TryLockEv", bool(Mutex*));
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  BATON_NEXT("5Mutex6UnlockEv", void(Mutex*));
  __tsan_release(this);
  ConditionsAreRead scope;
  next(this);
}

void Mutex::ReaderLock() {
  BATON_NEXT("5Mutex10ReaderLockEv", void(Mutex*));
  next(this);
  __tsan_acquire(this);
}

void Mutex::ReaderUnlock() {
  BATON_NEXT("5Mutex12ReaderUnlockEv", void(Mutex*));
  __tsan_release(this);
  ConditionsAreRead scope;
  next(this);
}

void Mutex::Await(const Condition& condition) {
  BATON_NEXT("5Mutex5AwaitERKNS0_9ConditionE", void(Mutex*, const Condition&));
  __tsan_release(this);
  {
    ConditionsAreRead scope;
    next(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, absl::Duration timeout) {
  BATON_NEXT("5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
             bool(Mutex*, const Condition&, absl::Duration));
  __tsan_release(this);
  bool outcome;
  {
    ConditionsAreRead scope;
    outcome = next(this, condition, timeout);
  }
  __tsan_acquire(this);
  return outcome;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, absl::Time deadline) {
  BATON_NEXT("5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
             bool(Mutex*, const Condition&, absl::Time));
  __tsan_release(this);
  bool outcome;
  {
    ConditionsAreRead scope;
    outcome = next(this, condition, deadline);
  }
  __tsan_acquire(this);
  return outcome;
}

void CondVar::Wait(Mutex* mutex) {
  BATON_NEXT("7CondVar4WaitEPNS0_5MutexE", void(CondVar*, Mutex*));
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, absl::Duration timeout) {
  BATON_NEXT("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
             bool(CondVar*, Mutex*, absl::Duration));
  __tsan_release(mutex);
  const bool outcome = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return outcome;
}

void Notification::Notify() {
  BATON_NEXT("12Notification6NotifyEv", void(Notification*));
  __tsan_release(this);
  next(this);
}

void Notification::WaitForNotification() const {
  BATON_NEXT_CONST("12Notification19WaitForNotificationEv", void(const Notification*));
  next(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(absl::Duration timeout) const {
  BATON_NEXT_CONST("12Notification30WaitForNotificationWithTimeoutENS0_8DurationE",
                   bool(const Notification*, absl::Duration));
  const bool notified = next(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
