#include "common/telemetry/line_writer.h"

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace baton::telemetry {
namespace {

static_assert(LineWriter::kBytesMax <= PIPE_BUF, "longer ones may be torn, and waited for");

bool IsFile(int fd) {
  struct stat about{};
  return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

bool HasRoom(int fd) {
  pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
  return poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0;
}

}  // namespace

LineWriter::LineWriter(int fd, LostLine lost_line)
    : fd_(fd), is_file_(IsFile(fd)), lost_line_(std::move(lost_line)) {}

void LineWriter::Write(std::string_view line) {
  if (lost_ > 0 && TryWrite(lost_line_(lost_))) lost_ = 0;
  if (lost_ > 0 || !TryWrite(line)) ++lost_;
}

bool LineWriter::TryWrite(std::string_view line) {
  if (!is_file_ && !HasRoom(fd_)) return false;
  buffer_.clear();
  if (torn_) buffer_ += '\n';
  buffer_ += line.substr(0, is_file_ ? line.size() : kBytesMax - 1 - buffer_.size());
  buffer_ += '\n';
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t wrote = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      torn_ = torn_ || done > 0;
      return false;
    }
    done += static_cast<size_t>(wrote);
  }
  torn_ = false;
  return true;
}

}  // namespace baton::telemetry
