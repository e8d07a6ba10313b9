#include "services/cli/bench/trace_file.h"

#include <algorithm>
#include <fstream>
#include <optional>

#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using nlohmann::json;

constexpr int64_t kTokensMax = 1 << 24;
constexpr double kTimestampMaxMs = 1e12;
constexpr uint64_t kOwnChunk = uint64_t{1} << 63;  // no hash_id of a file is as large

std::optional<int32_t> ReadLength(const json& line, const char* field) {
  if (!line.contains(field) || !line[field].is_number_integer()) return std::nullopt;
  const int64_t length = line[field].get<int64_t>();
  if (length < 0 || length > kTokensMax) return std::nullopt;
  return static_cast<int32_t>(std::max<int64_t>(1, length));
}

std::optional<absl::Duration> ReadTimestamp(const json& line) {
  if (!line.contains("timestamp") || !line["timestamp"].is_number()) return std::nullopt;
  const double ms = line["timestamp"].get<double>();
  if (!(ms >= 0 && ms <= kTimestampMaxMs)) return std::nullopt;
  return absl::Milliseconds(ms);
}

std::optional<std::vector<uint64_t>> ReadChunks(const json& line) {
  std::vector<uint64_t> chunks;
  if (!line.contains("hash_ids")) return chunks;
  if (!line["hash_ids"].is_array()) return std::nullopt;
  for (const json& id : line["hash_ids"]) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kOwnChunk) return std::nullopt;
    chunks.push_back(id.get<uint64_t>());
  }
  return chunks;
}

absl::StatusOr<TraceRequest> ReadLine(const std::string& text, uint64_t& own_chunks) {
  const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return InvalidArgument("is no JSON object");
  const auto at = ReadTimestamp(line);
  const auto prompt = ReadLength(line, "input_length");
  const auto output = ReadLength(line, "output_length");
  auto chunks = ReadChunks(line);
  if (!at || !prompt || !output || !chunks) {
    return InvalidArgument(
        "timestamp (ms), input_length and output_length (0 to {}) are needed, hash_ids may be "
        "given (numbers below 2^63)",
        kTokensMax);
  }
  TraceRequest request{.at = *at, .prompt_tokens = *prompt, .output_tokens = *output};
  const size_t needed = (*prompt + request.chunk_tokens - 1) / request.chunk_tokens;
  chunks->resize(std::min(chunks->size(), needed));
  while (chunks->size() < needed) chunks->push_back(kOwnChunk + own_chunks++);
  request.chunks = *std::move(chunks);
  return request;
}

}  // namespace

absl::StatusOr<std::vector<TraceRequest>> ReadTrace(const std::string& path) {
  std::ifstream file(path);
  if (!file) return NotFound("cannot read {}", path);
  std::vector<TraceRequest> trace;
  uint64_t own_chunks = 0;
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    if (text.empty()) continue;
    auto request = ReadLine(text, own_chunks);
    if (!request.ok()) return Annotate(request.status(), fmt::format("{}:{}", path, number));
    trace.push_back(*std::move(request));
  }
  if (trace.empty()) return InvalidArgument("{} has no requests", path);
  std::stable_sort(trace.begin(), trace.end(),
                   [](const TraceRequest& a, const TraceRequest& b) { return a.at < b.at; });
  return trace;
}

std::vector<int32_t> PromptOf(const TraceRequest& request, const TokenRange& range) {
  std::vector<int32_t> prompt(request.prompt_tokens);
  for (size_t i = 0; i < prompt.size(); ++i) {
    uint64_t mixed = request.chunks[i / request.chunk_tokens] + 1;
    mixed = (mixed * 0x9e3779b97f4a7c15u) ^ (i % request.chunk_tokens * 0xbf58476d1ce4e5b9u);
    mixed ^= mixed >> 31;
    prompt[i] = range.first + static_cast<int32_t>(mixed % static_cast<uint64_t>(range.count));
  }
  return prompt;
}

}  // namespace baton::cli
