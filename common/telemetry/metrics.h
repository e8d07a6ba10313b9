#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"

namespace prometheus {
class Registry;
class Exposer;
class Collectable;
}  // namespace prometheus

namespace baton::telemetry {

using Labels = std::map<std::string, std::string>;
using prometheus::Counter;    // Increment(by), by >= 0
using prometheus::Gauge;      // Set(v), Increment(), Decrement()
using prometheus::Histogram;  // Observe(v)

// Buckets by what is measured. Seconds.
// Time to a first token: 1 ms … 60 s, about 2 per octave up to a second.
const std::vector<double>& TtftBuckets();
// Between tokens and per step: 0.1 ms … 1 s.
const std::vector<double>& ItlBuckets();
// Whole requests: 10 ms … 10 min.
const std::vector<double>& RequestBuckets();
// Token counts: 1, 2, 4 … 131,072.
const std::vector<double>& TokenBuckets();

// One process's metrics. Names begin with "baton_" and end with their unit ("_seconds", "_bytes",
// "_total" for counters). Thread-safe. The references returned live as long as this object; the
// same name and labels give the same object. A name has one kind and one help text: CHECKed.
class Metrics {
 public:
  // `constant` labels go onto every metric (role, worker).
  explicit Metrics(Labels constant = {});
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter& AddCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& AddGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& AddHistogram(const std::string& name, const std::string& help,
                          const std::vector<double>& buckets, const Labels& labels = {});

  // Called before every exposition, on the exposing thread: for gauges that mirror a state, such as
  // an engine's load report. Must not call back into this object's Add functions for new names.
  void BeforeExposition(std::function<void()> refresh);

  // The Prometheus text format, version 0.0.4.
  std::string Text() const;

 private:
  friend class MetricsPage;
  struct Collector;
  const Labels constant_;
  std::shared_ptr<prometheus::Registry> registry_;
  std::shared_ptr<Collector> collector_;
};

// Brings a counter that mirrors somebody else's running total up to it; never down.
void RaiseTo(Counter& counter, double total);

// Serves `metrics` as GET /metrics on its own port, for processes without an HTTP door of their
// own.
class MetricsPage {
 public:
  // `address` is "host:port"; port 0 takes a free one. UNAVAILABLE naming the address when it is
  // taken. `metrics` must outlive the page.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Listen(const std::string& address,
                                                             const Metrics& metrics);
  ~MetricsPage();
  int port() const;

 private:
  explicit MetricsPage(std::unique_ptr<prometheus::Exposer> exposer);
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace baton::telemetry
