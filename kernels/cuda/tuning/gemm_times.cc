#include "kernels/cuda/tuning/gemm_times.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <vector>

#include "kernels/checksum.h"

namespace baton::kernels::cuda {
namespace {

constexpr std::string_view kFirstLine = "baton gemm times 1\n";
constexpr std::string_view kLastWord = "checksum ";
constexpr size_t kSizesMax = 4096;  // of some 20 models
constexpr size_t kFileBytesMax = 1 << 20;

template <typename Int>
std::string Hex(Int value) {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

// Takes numbers off the front of a line; once one is wrong, all that follow are.
class Line {
 public:
  explicit Line(std::string_view text) : text_(text) {}

  template <typename Int>
  Int Next(Int least, Int most, int base = 10) {
    const size_t end = std::min(text_.find(' '), text_.size());
    Int value = least;
    const auto [rest, error] = std::from_chars(text_.data(), text_.data() + end, value, base);
    is_good_ = is_good_ && error == std::errc() && rest == text_.data() + end && value >= least &&
               value <= most;
    text_.remove_prefix(std::min(end + 1, text_.size()));
    return value;
  }
  bool is_good() const { return is_good_ && text_.empty(); }

 private:
  std::string_view text_;
  bool is_good_ = true;
};

std::optional<std::pair<GemmSize, GemmTime>> ParseLine(std::string_view text) {
  Line line(text);
  GemmSize size;
  GemmTime time;
  size.kind.num_outputs = line.Next<int32_t>(1, INT32_MAX);
  size.kind.num_inputs = line.Next<int32_t>(1, INT32_MAX);
  size.kind.has_bias = line.Next<int32_t>(0, 1) == 1;
  size.kind.is_added = line.Next<int32_t>(0, 1) == 1;
  size.bucket = line.Next<int32_t>(0, 30);
  time.own_nanoseconds = line.Next<int64_t>(1, INT64_MAX);
  time.library_nanoseconds = line.Next<int64_t>(0, INT64_MAX);
  time.candidate.workspace_bytes = line.Next<size_t>(0, size_t{1} << 40);
  for (uint64_t& word : time.candidate.algorithm.data) {
    word = line.Next<uint64_t>(0, UINT64_MAX, 16);
  }
  if (!line.is_good()) return std::nullopt;
  return std::pair(size, time);
}

std::string FormatLine(const GemmSize& size, const GemmTime& time) {
  std::string line;
  for (const int64_t number :
       {int64_t{size.kind.num_outputs}, int64_t{size.kind.num_inputs}, int64_t{size.kind.has_bias},
        int64_t{size.kind.is_added}, int64_t{size.bucket}, time.own_nanoseconds,
        time.library_nanoseconds, int64_t(time.candidate.workspace_bytes)}) {
    line += std::to_string(number) + ' ';
  }
  for (const uint64_t word : time.candidate.algorithm.data) line += Hex(word) + ' ';
  line.back() = '\n';
  return line;
}

// Takes what `text` begins with off it; false: it begins with something else.
bool Take(std::string_view* text, std::string_view beginning) {
  if (!text->starts_with(beginning)) return false;
  text->remove_prefix(beginning.size());
  return true;
}

// Empty: there is none, or it is too long.
std::string ReadFile(const std::filesystem::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return "";
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text.size() > kFileBytesMax ? "" : text;
}

// All of it on the disk, or an error number.
int WriteAll(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(size_t(written));
  }
  return ::fsync(descriptor) == 0 ? 0 : errno;
}

Error Failed(const std::filesystem::path& path, int error) {
  return path.string() + ": " + std::strerror(error);
}

}  // namespace

std::string FormatGemmTimes(const std::string& subject, const GemmTimes& times) {
  std::string text = std::string(kFirstLine) + subject + "\n";
  for (const auto& [size, time] : times) text += FormatLine(size, time);
  return text + std::string(kLastWord) + Hex(Checksum(text.data(), text.size())) + "\n";
}

std::optional<GemmTimes> ParseGemmTimes(const std::string& subject, std::string_view text) {
  const size_t last = text.rfind(kLastWord);
  if (text.size() > kFileBytesMax || last == std::string_view::npos) return std::nullopt;
  if (text.substr(last + kLastWord.size()) != Hex(Checksum(text.data(), last)) + "\n") {
    return std::nullopt;
  }
  text = text.substr(0, last);
  if (!Take(&text, kFirstLine) || !Take(&text, subject) || !Take(&text, "\n")) return std::nullopt;
  GemmTimes times;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const auto entry = ParseLine(text.substr(0, end));
    if (!entry || end == std::string_view::npos || times.size() == kSizesMax) return std::nullopt;
    times.insert(*entry);
    text.remove_prefix(end + 1);
  }
  return times;
}

GemmTimes LoadGemmTimes(const std::filesystem::path& file, const std::string& subject) {
  return ParseGemmTimes(subject, ReadFile(file)).value_or(GemmTimes());
}

Error SaveGemmTimes(const std::filesystem::path& file, const std::string& subject,
                    const GemmTimes& times) {
  GemmTimes all = times;
  // What no longer fits was measured for other models.
  for (const auto& [size, time] : LoadGemmTimes(file, subject)) {
    if (all.size() < kSizesMax) all.try_emplace(size, time);
  }
  std::error_code failure;
  std::filesystem::create_directories(file.parent_path(), failure);
  if (failure) return Failed(file.parent_path(), failure.value());
  std::string draft = file.string() + ".XXXXXX";
  const int descriptor = ::mkstemp(draft.data());
  if (descriptor < 0) return Failed(file.parent_path(), errno);
  int error = WriteAll(descriptor, FormatGemmTimes(subject, all));
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(draft.c_str(), file.c_str()) != 0) error = errno;
  if (error == 0) return std::nullopt;
  ::unlink(draft.c_str());
  return Failed(file, error);
}

std::string GemmTimesFileName(std::string_view gpu, int compute_capability) {
  constexpr size_t kNameMax = 64;
  std::string name(gpu.substr(0, kNameMax));
  for (char& c : name) {
    const bool is_plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_plain) c = '_';
  }
  return "gemm-" + name + "-sm" + std::to_string(compute_capability) + ".txt";
}

}  // namespace baton::kernels::cuda
