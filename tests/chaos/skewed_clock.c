// Preloaded into one process: moves its wall clock by the milliseconds (int64) in the file that SKEWED_CLOCK_FILE
// names, which may change at any time. Its monotonic clocks stay as they are, as when somebody sets a machine's
// time. Waits that the kernel was given with a wall-clock time are given the true time.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* skew_ms;

// Libraries that are initialized before this one may ask for the time, too.
static long (*TrueSyscall(void))(long, ...) {
  static long (*found)(long, ...);
  if (!found) found = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return found;
}

__attribute__((constructor)) static void Open(void) {
  const char* path = getenv("SKEWED_CLOCK_FILE");
  const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* page = mmap(NULL, sizeof *skew_ms, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) skew_ms = page;
}

static struct timespec Moved(struct timespec at, int64_t ms) {
  int64_t ns = at.tv_nsec + (ms % 1000) * 1000000;
  at.tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
  at.tv_nsec = ns >= 1000000000 ? ns - 1000000000 : ns < 0 ? ns + 1000000000 : ns;
  return at;
}

static int64_t Skew(void) { return skew_ms ? *skew_ms : 0; }

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int failed = (int)TrueSyscall()(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *now = Moved(*now, Skew());
  return failed;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  (void)zone;
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  now->tv_sec = at.tv_sec;
  now->tv_usec = at.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  if (out) *out = at.tv_sec;
  return at.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t* restrict cond, pthread_mutex_t* restrict mutex,
                           const struct timespec* restrict until) {
  static int (*wait)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
  if (!wait) {
    wait = (int (*)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*))dlvsym(
        RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  }
  // Whether this condition's clock is the wall's, its attributes know; times that are near the true monotonic one
  // are taken for monotonic.
  struct timespec steady;
  clock_gettime(CLOCK_MONOTONIC, &steady);
  const int wall = until->tv_sec > steady.tv_sec + 365L * 86400;
  const struct timespec moved = wall ? Moved(*until, -Skew()) : *until;
  return wait(cond, mutex, &moved);
}

long syscall(long number, ...) {
  va_list list;
  long a[6];
  va_start(list, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  struct timespec moved;
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3] && Skew() != 0) {
    moved = Moved(*(const struct timespec*)a[3], -Skew());
    a[3] = (long)&moved;
  }
  return TrueSyscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
