#pragma once

#include <bit>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/cuda/cublaslt/lt_gemm.h"

namespace baton::kernels::cuda {

// Numbers of tokens that share a choice: 1, 2, 3 to 4, 5 to 8, …
constexpr int32_t TokenBucketOf(int32_t num_tokens) {
  return int32_t(std::bit_width(uint32_t(num_tokens - 1)));
}
constexpr int32_t LeastTokensOf(int32_t bucket) {
  return bucket == 0 ? 1 : (1 << (bucket - 1)) + 1;
}
constexpr int32_t MostTokensOf(int32_t bucket) { return 1 << bucket; }

// What is measured once: how long a GEMM takes with so many tokens.
struct GemmSize {
  GemmKind kind;
  int32_t bucket = 0;  // 0 to 30
  friend auto operator<=>(const GemmSize&, const GemmSize&) = default;
};
struct GemmTime {
  int64_t own_nanoseconds = 0;
  int64_t library_nanoseconds = 0;  // of `candidate`, the best; 0: cuBLASLt has none
  LtCandidate candidate;
};
using GemmTimes = std::map<GemmSize, GemmTime>;

// Times are of one GPU, driver, library and set of own kernels, which `subject` names in one line;
// they mean nothing to another. They are kept as text:
//
//   baton gemm times 1
//   <subject>
//   N K bias added bucket own-ns library-ns workspace-bytes algorithm       one line each
//   checksum <XXH3 of all before it>
std::string FormatGemmTimes(const std::string& subject, const GemmTimes& times);
// None: the text is another subject's, of another version, damaged, or too long.
std::optional<GemmTimes> ParseGemmTimes(const std::string& subject, std::string_view text);

// Empty when there is no file, or none that can be used.
GemmTimes LoadGemmTimes(const std::filesystem::path& file, const std::string& subject);
// Adds to what is there for the same subject, and puts all in the file's place at once: who reads
// sees the old or the new one. An error says what failed; the file is as it was.
Error SaveGemmTimes(const std::filesystem::path& file, const std::string& subject,
                    const GemmTimes& times);

// "gemm-NVIDIA_H200-sm90.txt"
std::string GemmTimesFileName(std::string_view gpu, int compute_capability);

}  // namespace baton::kernels::cuda
