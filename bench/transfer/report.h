#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton::bench {

// Times of one shape of transfer: `pieces` pieces of `piece_bytes`, all of them one operation.
struct Series {
  std::string path;  // "memcpy", "shared memory", "tcp"
  uint64_t piece_bytes = 0;
  uint64_t pieces = 0;
  std::vector<double> seconds;

  double BestGbps() const;
  double MedianGbps() const;
  double MedianMicroseconds() const;

 private:
  double Quantile(double q) const;
};

// One line of ucx_perftest's figures, from the same run.
struct Perftest {
  std::string path;
  uint64_t bytes = 0;
  double gbps = 0;
};

void PrintTable(const std::vector<Series>& series, const std::vector<Perftest>& perftest);
void WriteJson(const std::string& file, const std::string& command,
               const std::vector<Series>& series, const std::vector<Perftest>& perftest);

}  // namespace baton::bench
