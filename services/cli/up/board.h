#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace baton::cli {

// What `baton up` shows: lines that stay, and below them a few that are redrawn in place. Not on a
// terminal, the latter are printed when they change, and at most every `interval`. One thread.
class Board {
 public:
  Board(bool terminal, absl::Duration interval) : terminal_(terminal), interval_(interval) {}
  ~Board() { Clear(); }

  // A line (or several) that stays.
  void Say(const std::string& text);
  // Replaces the moving lines. `urgent` (a state changed) prints them off a terminal at once.
  void Draw(const std::vector<std::string>& lines, absl::Time now, bool urgent);
  // Takes the moving lines away, for somebody else's output.
  void Clear();

 private:
  void Paint();

  const bool terminal_;
  const absl::Duration interval_;
  std::vector<std::string> lines_;
  size_t painted_ = 0;  // lines on the terminal below the last one that stays
  absl::Time printed_at_ = absl::InfinitePast();
};

}  // namespace baton::cli
