#include "bench/simulation/trace.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace baton::simulation {
namespace {

constexpr int32_t kVocab = 250;

struct Shape {
  int sessions = 0;
  int shared_tokens = 0;           // of everybody's beginning
  int turn_min = 0, turn_max = 0;  // what a turn adds to its session
  int turns_max = 1;
  int output_min = 0, output_max = 0;
};

Shape ShapeOf(std::string_view name) {
  if (name == "chat") return {200, 512, 64, 512, 10, 64, 384};
  if (name == "agent") return {48, 2048, 256, 1536, 12, 32, 160};
  if (name == "rag") return {64, 256, 2048, 4096, 1, 96, 256};  // a session is a document
  return {0, 0, 1024, 4096, 1, 128, 512};
}

}  // namespace

std::vector<TraceRequest> MakeTrace(std::string_view shape, double requests_per_second,
                                    absl::Duration length, uint64_t seed) {
  constexpr int32_t kChunk = 64;
  const Shape form = ShapeOf(shape);
  std::mt19937_64 random(seed);
  const auto uniform = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  std::exponential_distribution<double> gap(requests_per_second);
  struct Session {
    std::vector<uint64_t> chunks;
    int turns = 0;
    int number = 0;
  };
  std::vector<Session> sessions(std::max(form.sessions, 1));
  uint64_t next_chunk = 1000;
  int next_session = 0;
  const auto renew = [&](Session& session) {
    session = {.number = next_session++};
    for (int i = 0; i < form.shared_tokens / kChunk; ++i) session.chunks.push_back(i);
  };
  for (Session& session : sessions) renew(session);
  std::vector<TraceRequest> trace;
  for (double at = gap(random); at < absl::ToDoubleSeconds(length); at += gap(random)) {
    // The square makes some of them popular.
    const double draw = std::uniform_real_distribution<double>(0, 1)(random);
    Session& session = sessions[static_cast<size_t>(draw * draw * sessions.size())];
    const bool document = shape == "rag";
    if (session.turns == form.turns_max && !document) renew(session);
    if (!document || session.turns == 0) {
      const int tokens = uniform(form.turn_min, form.turn_max);
      for (int i = 0; i < tokens / kChunk; ++i) session.chunks.push_back(next_chunk++);
    }
    ++session.turns;
    TraceRequest request{.at = absl::Seconds(at),
                         .chunks = session.chunks,
                         .chunk_tokens = kChunk,
                         .output_tokens = uniform(form.output_min, form.output_max)};
    if (document) request.chunks.push_back(next_chunk++);  // the question
    request.prompt_tokens = static_cast<int32_t>(request.chunks.size()) * kChunk;
    if (form.sessions > 0 && !document) request.user = fmt::format("session-{}", session.number);
    trace.push_back(std::move(request));
  }
  return trace;
}

absl::StatusOr<std::vector<TraceRequest>> ReadMooncake(const std::string& path) {
  std::ifstream file(path);
  if (!file) return NotFound("cannot read {}", path);
  std::vector<TraceRequest> trace;
  std::string line;
  while (std::getline(file, line)) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool complete = json.is_object() && json.contains("timestamp") &&
                          json.contains("input_length") && json.contains("output_length") &&
                          json.contains("hash_ids");
    if (!complete) {
      return InvalidArgument(
          "{}:{}: timestamp, input_length, output_length and hash_ids are needed", path,
          trace.size() + 1);
    }
    trace.push_back({.at = absl::Milliseconds(json["timestamp"].get<double>()),
                     .chunks = json["hash_ids"].get<std::vector<uint64_t>>(),
                     .prompt_tokens = std::max(1, json["input_length"].get<int32_t>()),
                     .output_tokens = std::max(1, json["output_length"].get<int32_t>())});
  }
  std::stable_sort(trace.begin(), trace.end(),
                   [](const TraceRequest& a, const TraceRequest& b) { return a.at < b.at; });
  return trace;
}

std::vector<int32_t> PromptOf(const TraceRequest& request) {
  std::vector<int32_t> prompt(request.prompt_tokens);
  for (size_t i = 0; i < prompt.size(); ++i) {
    const size_t chunk = i / request.chunk_tokens;
    uint64_t mixed = (chunk < request.chunks.size() ? request.chunks[chunk] : ~uint64_t{0}) + 1;
    mixed = (mixed * 0x9e3779b97f4a7c15u) ^ (i % request.chunk_tokens * 0xbf58476d1ce4e5b9u);
    mixed ^= mixed >> 31;
    prompt[i] = static_cast<int32_t>(mixed % kVocab);
  }
  return prompt;
}

}  // namespace baton::simulation
