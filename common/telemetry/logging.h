#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fmt/format.h"

namespace baton::telemetry {

enum class Level : uint8_t { kDebug, kInfo, kWarning, kError };
enum class Format : uint8_t { kText, kJson };

// Once, at the beginning of main(), before any other thread logs. Lines go to stderr, each in one
// write that waits for nobody: see LineWriter.
//   text: 14:03:07.123 I decode-0 membership: registered with router router=127.0.0.1:9000
//   json:
//   {"ts":"2026-01-31T14:03:07.123456Z","level":"info","process":"decode-0","room":"membership",
//          "msg":"registered with router","router":"127.0.0.1:9000"}
// Before the call, and in tests that never call it, warnings and errors go out as text.
void InitLogging(std::string_view process, Level level, Format format);

// A name and its value; values are formatted by fmt. In JSON numbers and bools stay what they are.
struct Field {
  std::string_view name;
  std::string value;
  bool quoted = true;

  Field(std::string_view name, std::string_view value) : name(name), value(value) {}
  Field(std::string_view name, const char* value) : name(name), value(value) {}
  Field(std::string_view name, const std::string& value) : name(name), value(value) {}
  template <typename T>
    requires std::is_arithmetic_v<T>
  Field(std::string_view name, T value)
      : name(name), value(fmt::format("{}", value)), quoted(false) {}
};

// One line per change of state. `room` says which part speaks; `traceparent` (W3C) adds its trace
// id when it is well-formed. Thread-safe; costs nothing below the level. Never throws.
void Log(Level level, std::string_view room, std::string_view message,
         std::initializer_list<Field> fields = {}, std::string_view traceparent = "");

inline void LogDebug(std::string_view room, std::string_view message,
                     std::initializer_list<Field> fields = {}, std::string_view traceparent = "") {
  Log(Level::kDebug, room, message, fields, traceparent);
}
inline void LogInfo(std::string_view room, std::string_view message,
                    std::initializer_list<Field> fields = {}, std::string_view traceparent = "") {
  Log(Level::kInfo, room, message, fields, traceparent);
}
inline void LogWarning(std::string_view room, std::string_view message,
                       std::initializer_list<Field> fields = {},
                       std::string_view traceparent = "") {
  Log(Level::kWarning, room, message, fields, traceparent);
}
inline void LogError(std::string_view room, std::string_view message,
                     std::initializer_list<Field> fields = {}, std::string_view traceparent = "") {
  Log(Level::kError, room, message, fields, traceparent);
}

// One line without its end, as Log would write it; for tests.
std::string FormatLine(Format format, std::string_view process, Level level, std::string_view room,
                       std::string_view message, std::initializer_list<Field> fields,
                       std::string_view traceparent, int64_t unix_micros);

}  // namespace baton::telemetry
