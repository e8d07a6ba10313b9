#include "services/cli/up/board.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "fmt/format.h"

namespace baton::cli {
namespace {

size_t TerminalColumns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// At most `columns` characters (not bytes), so that one line never takes two.
std::string CutTo(const std::string& text, size_t columns) {
  size_t characters = 0, i = 0;
  for (; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80;
    if (begins && ++characters > columns) break;
  }
  return text.substr(0, i);
}

}  // namespace

void Board::Say(const std::string& text) {
  Clear();
  fmt::print("{}\n", text);
  Paint();
}

void Board::Draw(const std::vector<std::string>& lines, absl::Time now, bool urgent) {
  if (terminal_) {
    Clear();
    lines_ = lines;
    Paint();
    return;
  }
  if (lines == lines_ || (!urgent && now - printed_at_ < interval_)) return;
  printed_at_ = now;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i >= lines_.size() || lines[i] != lines_[i]) fmt::print("{}\n", lines[i]);
  }
  std::fflush(stdout);
  lines_ = lines;
}

void Board::Clear() {
  if (painted_ > 0) fmt::print("\x1b[{}A\x1b[J", painted_);
  painted_ = 0;
  std::fflush(stdout);
}

void Board::Paint() {
  if (terminal_) {
    const size_t columns = TerminalColumns();
    for (const std::string& line : lines_) fmt::print("{}\n", CutTo(line, columns));
    painted_ = lines_.size();
  }
  std::fflush(stdout);
}

}  // namespace baton::cli
