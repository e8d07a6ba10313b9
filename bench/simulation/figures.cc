#include "bench/simulation/figures.h"

#include <algorithm>
#include <fstream>

#include "common/base/check.h"

namespace baton::simulation {

Figures FiguresOf(const RunResult& result, const Slo& slo) {
  Figures figures{.requests = static_cast<int>(result.outcomes.size())};
  for (const Outcome& outcome : result.outcomes) {
    if (!outcome.completed) continue;
    ++figures.completed;
    figures.ttft_ms.push_back(absl::ToDoubleMilliseconds(outcome.ttft));
    bool good = figures.ttft_ms.back() <= slo.ttft_ms;
    if (outcome.tokens > 1) {
      figures.itl_ms.push_back(absl::ToDoubleMilliseconds(outcome.e2e - outcome.ttft) /
                               (outcome.tokens - 1));
      good = good && figures.itl_ms.back() <= slo.itl_ms;
    }
    figures.good += good ? 1 : 0;
  }
  std::sort(figures.ttft_ms.begin(), figures.ttft_ms.end());
  std::sort(figures.itl_ms.begin(), figures.itl_ms.end());
  return figures;
}

double Quantile(const std::vector<double>& ascending, double q) {
  if (ascending.empty()) return 0;
  return ascending[static_cast<size_t>(q * static_cast<double>(ascending.size() - 1))];
}

void WriteRows(const std::string& path, const std::string& command, const Slo& slo,
               nlohmann::json rows) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << nlohmann::json{{"command", command},
                         {"slo", {{"ttft_ms", slo.ttft_ms}, {"itl_ms", slo.itl_ms}}},
                         {"rows", std::move(rows)}}
              .dump(1)
       << "\n";
  CHECK(file.flush(), "--json {}: cannot be written", path);
}

std::string CommandText(const char* name, int argc, char** argv) {
  std::string text = name;
  for (int i = 1; i < argc; ++i) text += std::string(" ") + argv[i];
  return text;
}

}  // namespace baton::simulation
