#pragma once

#include <cstdio>
#include <cstdlib>

// Invariants of this room. kernels/ includes nothing of ours, so it has its own: prints the
// condition and where it stood, and stops the process.
namespace baton::kernels::internal {

[[noreturn, gnu::cold, gnu::noinline]] inline void CheckFailed(const char* condition,
                                                               const char* file, int line) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace baton::kernels::internal

#define KERNELS_CHECK(condition)                                               \
  do {                                                                         \
    if (!(condition)) [[unlikely]] {                                           \
      ::baton::kernels::internal::CheckFailed(#condition, __FILE__, __LINE__); \
    }                                                                          \
  } while (false)
