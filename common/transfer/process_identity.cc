#include "common/transfer/process_identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <string_view>

#include "fmt/format.h"

namespace baton::transfer {
namespace {

struct Stat {
  char state = '?';
  uint64_t start = 0;
};

enum class ReadOutcome { kRead, kAbsent, kUnreadable };

ReadOutcome ReadFile(const std::string& path, std::string* content) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return errno == ENOENT ? ReadOutcome::kAbsent : ReadOutcome::kUnreadable;
  char buffer[1024];
  const size_t bytes = std::fread(buffer, 1, sizeof buffer, file);
  std::fclose(file);
  content->assign(buffer, bytes);
  // A process that ends between open and read: the kernel answers ESRCH and nothing is read.
  return bytes == 0 ? ReadOutcome::kAbsent : ReadOutcome::kRead;
}

// "pid (name) state ppid … starttime …"; the name may hold spaces and brackets, so count from the
// last one. The start time is the 20th field after the state.
std::optional<Stat> ParseStat(const std::string& text) {
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text.size()) return std::nullopt;
  Stat stat;
  size_t at = name_end + 2;
  stat.state = text[at];
  for (int field = 0; field < 19; ++field) {
    at = text.find(' ', at);
    if (at == std::string::npos) return std::nullopt;
    ++at;
  }
  stat.start = std::strtoull(text.c_str() + at, nullptr, 10);
  return stat;
}

uint64_t NamespaceOf(std::string_view kind) {
  struct stat info{};
  return ::stat(fmt::format("/proc/self/ns/{}", kind).c_str(), &info) == 0 ? info.st_ino : 0;
}

std::string MakeHostId() {
  std::string boot;
  ReadFile("/proc/sys/kernel/random/boot_id", &boot);
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return fmt::format("{}/pid:{}/ipc:{}", boot, NamespaceOf("pid"), NamespaceOf("ipc"));
}

}  // namespace

ProcessIdentity ThisProcess() {
  std::string text;
  ReadFile("/proc/self/stat", &text);
  const std::optional<Stat> stat = ParseStat(text);
  return {::getpid(), stat ? stat->start : 0};
}

const std::string& ThisHostId() {
  static const std::string* id = new std::string(MakeHostId());
  return *id;
}

bool HasEnded(const ProcessIdentity& process) {
  std::string text;
  switch (ReadFile(fmt::format("/proc/{}/stat", process.pid), &text)) {
    case ReadOutcome::kAbsent:
      return true;
    case ReadOutcome::kUnreadable:
      return false;
    case ReadOutcome::kRead:
      break;
  }
  const std::optional<Stat> stat = ParseStat(text);
  if (!stat) return false;
  return stat->start != process.start || stat->state == 'Z' || stat->state == 'X';
}

}  // namespace baton::transfer
