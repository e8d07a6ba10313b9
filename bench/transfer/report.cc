#include "bench/transfer/report.h"

#include <algorithm>
#include <fstream>

#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace baton::bench {
namespace {

// "model name : …" of the first processor.
std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace

double Series::Quantile(double q) const {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  return sorted.at(static_cast<size_t>(q * static_cast<double>(sorted.size() - 1)));
}
double Series::BestGbps() const {
  return static_cast<double>(piece_bytes * pieces) / Quantile(0) / 1e9;
}
double Series::MedianGbps() const {
  return static_cast<double>(piece_bytes * pieces) / Quantile(0.5) / 1e9;
}
double Series::MedianMicroseconds() const { return Quantile(0.5) * 1e6; }

void PrintTable(const std::vector<Series>& series, const std::vector<Perftest>& perftest) {
  fmt::print("{:<14} {:>10} {:>7} {:>11} {:>11} {:>12}\n", "path", "piece KiB", "pieces",
             "best GB/s", "p50 GB/s", "p50 us");
  for (const Series& one : series) {
    fmt::print("{:<14} {:>10} {:>7} {:>11.2f} {:>11.2f} {:>12.1f}\n", one.path,
               one.piece_bytes / 1024, one.pieces, one.BestGbps(), one.MedianGbps(),
               one.MedianMicroseconds());
  }
  for (const Perftest& one : perftest) {
    fmt::print("ucx_perftest put, {}, {} KiB: {:.2f} GB/s\n", one.path, one.bytes / 1024, one.gbps);
  }
}

void WriteJson(const std::string& file, const std::string& command,
               const std::vector<Series>& series, const std::vector<Perftest>& perftest) {
  nlohmann::json report = {{"command", command},
                           {"machine", ProcessorName()},
                           {"series", nlohmann::json::array()},
                           {"ucx_perftest", nlohmann::json::array()}};
  for (const Series& one : series) {
    report["series"].push_back({{"path", one.path},
                                {"piece_bytes", one.piece_bytes},
                                {"pieces", one.pieces},
                                {"best_gigabytes_per_second", one.BestGbps()},
                                {"p50_gigabytes_per_second", one.MedianGbps()},
                                {"p50_microseconds", one.MedianMicroseconds()}});
  }
  for (const Perftest& one : perftest) {
    report["ucx_perftest"].push_back(
        {{"path", one.path}, {"bytes", one.bytes}, {"gigabytes_per_second", one.gbps}});
  }
  std::ofstream(file) << report.dump(2) << "\n";
}

}  // namespace baton::bench
