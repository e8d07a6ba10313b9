#include "common/telemetry/metrics_text.h"

#include <cstdlib>
#include <limits>
#include <map>

namespace baton::telemetry {
namespace {

// le="0.005" of a label list; infinity for +Inf and for anything else.
double UpperBound(std::string_view labels) {
  const size_t at = labels.find("le=\"");
  if (at == std::string_view::npos) return std::numeric_limits<double>::infinity();
  const std::string text(labels.substr(at + 4, labels.find('"', at + 4) - at - 4));
  return text == "+Inf" ? std::numeric_limits<double>::infinity()
                        : std::strtod(text.c_str(), nullptr);
}

}  // namespace

MetricsText::MetricsText(std::string_view page) {
  while (!page.empty()) {
    const size_t end = page.find('\n');
    const std::string_view line = page.substr(0, end);
    page = end == std::string_view::npos ? "" : page.substr(end + 1);
    const size_t space = line.rfind(' ');
    if (line.empty() || line.front() == '#' || space == std::string_view::npos) continue;
    const std::string_view series = line.substr(0, space);
    const size_t brace = series.find('{');
    Sample sample{std::string(series.substr(0, brace)), "", 0};
    if (brace != std::string_view::npos) sample.labels = std::string(series.substr(brace));
    sample.value = std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
    samples_.push_back(std::move(sample));
  }
}

double MetricsText::Sum(std::string_view name) const {
  double sum = 0;
  for (const Sample& sample : samples_) {
    if (sample.name == name) sum += sample.value;
  }
  return sum;
}

double MetricsText::Sum(std::string_view name, std::string_view label,
                        std::string_view value) const {
  const std::string wanted = std::string(label) + "=\"" + std::string(value) + "\"";
  double sum = 0;
  for (const Sample& sample : samples_) {
    if (sample.name != name) continue;
    // After "{" or ",": not the end of another label's name.
    const size_t at = sample.labels.find(wanted);
    if (at != std::string::npos && at > 0 &&
        (sample.labels[at - 1] == '{' || sample.labels[at - 1] == ','))
      sum += sample.value;
  }
  return sum;
}

std::optional<double> MetricsText::Quantile(std::string_view histogram, double q) const {
  std::map<double, double> cumulative;  // upper bound -> observations up to it
  const std::string name = std::string(histogram) + "_bucket";
  for (const Sample& sample : samples_) {
    if (sample.name == name) cumulative[UpperBound(sample.labels)] += sample.value;
  }
  if (cumulative.empty() || cumulative.rbegin()->second <= 0) return std::nullopt;
  const double rank = q * cumulative.rbegin()->second;
  double low = 0, below = 0;
  for (const auto& [bound, count] : cumulative) {
    if (count >= rank) {
      if (bound == std::numeric_limits<double>::infinity()) return low;
      return count > below ? low + (bound - low) * (rank - below) / (count - below) : bound;
    }
    low = bound;
    below = count;
  }
  return low;
}

}  // namespace baton::telemetry
