#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baton::cli {

// One line of a child's JSON log, as a person wants it.
struct LogLine {
  std::string text;     // "14:03:07.123 I model: loading weights percent=40"
  bool error = false;   // level "error", or not one of our lines at all (a crash's last words)
  std::string message;  // without time, level and room; with the fields
  std::optional<int> percent;  // of "loading weights"
};

// Lines that are not JSON are taken as they are.
LogLine ReadLogLine(std::string_view line);

}  // namespace baton::cli
