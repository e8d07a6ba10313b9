#pragma once

#include <string>
#include <vector>

#include "bench/simulation/simulated_cluster.h"
#include "nlohmann/json.hpp"

namespace baton::simulation {

// What a request has to keep to count as good. Milliseconds; `itl_ms` is of its mean.
struct Slo {
  double ttft_ms = 1000;
  double itl_ms = 30;
};

// Of one run, over the requests that were completed.
struct Figures {
  int requests = 0, completed = 0, good = 0;
  std::vector<double> ttft_ms;  // ascending
  std::vector<double> itl_ms;   // ascending; each request's mean, where it has more than one token
  double good_percent() const { return 100.0 * good / requests; }
};
Figures FiguresOf(const RunResult& result, const Slo& slo);

// `ascending` may be empty: 0.
double Quantile(const std::vector<double>& ascending, double q);

// The file that a simulation's --json names, an empty path none: what made it, what was good, and a
// row for each run.
void WriteRows(const std::string& path, const std::string& command, const Slo& slo,
               nlohmann::json rows);

// "NAME flag value …", for the file above.
std::string CommandText(const char* name, int argc, char** argv);

}  // namespace baton::simulation
