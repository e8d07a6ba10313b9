#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace baton::telemetry {

// Writes lines to a descriptor and never waits for its reader: a full pipe, a terminal that is
// held, a full disk cost lines, not time. The first line that gets through again is preceded by one
// that says how many were lost. Not thread-safe. Does not own the descriptor.
class LineWriter {
 public:
  // The line that tells of `lost` others, without its end.
  using LostLine = std::function<std::string(uint64_t lost)>;
  LineWriter(int fd, LostLine lost_line);

  // `line` comes without its end. Longer than kBytesMax it is cut where a reader must not be waited
  // for.
  void Write(std::string_view line);

  // What a pipe with any room takes at once.
  static constexpr size_t kBytesMax = 4096;

 private:
  bool TryWrite(std::string_view line);

  const int fd_;
  const bool is_file_;  // of a file system: never waited for
  const LostLine lost_line_;
  std::string buffer_;
  uint64_t lost_ = 0;
  bool torn_ = false;  // the disk was full in the middle of a line
};

}  // namespace baton::telemetry
