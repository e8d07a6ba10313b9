#include "bench/simulation/trace.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "fmt/format.h"

namespace baton::simulation {
namespace {

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
  if (name == "write") return {0, 0, 128, 512, 1, 512, 1536};
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

}  // namespace baton::simulation
