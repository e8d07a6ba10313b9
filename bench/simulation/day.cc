#include "bench/simulation/day.h"

#include <cmath>
#include <functional>
#include <iterator>
#include <random>

#include "common/base/check.h"

namespace baton::simulation {
namespace {

// Of a trace at the peak's rate, each request with the share of the peak at its time.
std::vector<TraceRequest> Thinned(std::vector<TraceRequest> trace, uint64_t seed,
                                  const std::function<double(double seconds)>& share) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> draw(0, 1);
  std::erase_if(trace, [&](const TraceRequest& request) {
    return draw(random) >= share(absl::ToDoubleSeconds(request.at));
  });
  return trace;
}

std::vector<TraceRequest> Diurnal(double peak, absl::Duration length, uint64_t seed) {
  const double seconds = absl::ToDoubleSeconds(length);
  return Thinned(MakeTrace("chat", peak, length, seed), seed + 1, [seconds](double at) {
    return 0.1 + 0.9 * (1 - std::cos(2 * M_PI * at / seconds)) / 2;
  });
}

std::vector<TraceRequest> Bursty(double peak, absl::Duration length, uint64_t seed) {
  constexpr double kBurst = 60;
  std::mt19937_64 random(seed + 2);
  std::exponential_distribution<double> pause(1.0 / 200);
  std::vector<double> bursts;
  for (double at = 60 + pause(random); at < absl::ToDoubleSeconds(length);
       at += kBurst + pause(random)) {
    bursts.push_back(at);
  }
  return Thinned(MakeTrace("chat", peak, length, seed), seed + 1, [bursts](double at) {
    for (const double begin : bursts) {
      if (at >= begin && at < begin + kBurst) return 1.0;
    }
    return 0.2;
  });
}

std::vector<TraceRequest> Shifting(double peak, absl::Duration length, uint64_t seed) {
  std::vector<TraceRequest> all;
  absl::Duration from;
  uint64_t part = 0;
  for (const char* shape : {"rag", "write", "rag"}) {
    // Long answers hold their places for longer.
    const double rate = std::string_view(shape) == "write" ? peak / 3 : peak / 2;
    std::vector<TraceRequest> piece = MakeTrace(shape, rate, length / 3, seed + part);
    for (TraceRequest& request : piece) {
      request.at += from;
      // What two parts have of their own is not the same text.
      for (uint64_t& chunk : request.chunks) chunk += chunk < 1000 ? 0 : (part << 40);
    }
    std::move(piece.begin(), piece.end(), std::back_inserter(all));
    from += length / 3;
    ++part;
  }
  return all;
}

}  // namespace

std::vector<TraceRequest> MakeDay(std::string_view name, double peak, absl::Duration length,
                                  uint64_t seed) {
  if (name == "diurnal") return Diurnal(peak, length, seed);
  if (name == "bursty") return Bursty(peak, length, seed);
  CHECK(name == "shifting", "no load is called '{}'", name);
  return Shifting(peak, length, seed);
}

}  // namespace baton::simulation
