#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baton::telemetry {

// Figures of a Prometheus text page.
class MetricsText {
 public:
  explicit MetricsText(std::string_view page);

  // Sum over every series of that name.
  double Sum(std::string_view name) const;
  // Of those that have this label with this value.
  double Sum(std::string_view name, std::string_view label, std::string_view value) const;
  // Of a histogram, all series together, interpolated within a bucket; nothing when it is empty.
  std::optional<double> Quantile(std::string_view histogram, double q) const;

 private:
  struct Sample {
    std::string name;
    std::string labels;  // as written
    double value = 0;
  };
  std::vector<Sample> samples_;
};

}  // namespace baton::telemetry
