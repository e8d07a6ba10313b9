#pragma once

#include <string>

#include "fmt/format.h"

// For our own mistakes: stops the process with the values in the message. A wrong block table would
// serve another user's text; stopping is the gentle outcome. Active in every build type.
namespace baton::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& message);
}

// CHECK(free >= 0, "block {} freed twice", id)
#define CHECK(condition, ...)                                        \
  do {                                                               \
    if (!(condition)) [[unlikely]] {                                 \
      ::baton::internal::CheckFailed(__FILE__, __LINE__, #condition, \
                                     ::fmt::format("" __VA_ARGS__)); \
    }                                                                \
  } while (0)

#define CHECK_OK(expr)                                                      \
  do {                                                                      \
    const auto& check_status_ = (expr);                                     \
    CHECK(check_status_.ok(), "{}", std::string(check_status_.ToString())); \
  } while (0)
