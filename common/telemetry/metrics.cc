#include "common/telemetry/metrics.h"

#include <mutex>

#include "common/base/check.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace baton::telemetry {

// What is asked for the current values: refreshes mirrors, then reads the registry.
struct Metrics::Collector : prometheus::Collectable {
  std::shared_ptr<prometheus::Registry> registry;
  mutable std::mutex mutex;  // guards `refreshes`, and lets one exposition run at a time
  std::vector<std::function<void()>> refreshes;

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::lock_guard lock(mutex);
    for (const auto& refresh : refreshes) refresh();
    return registry->Collect();
  }
};

const std::vector<double>& TtftBuckets() {
  static const auto* buckets = new std::vector<double>{
      0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
      0.3,   0.5,   0.75,  1,     1.5,    2,    3,     5,    7.5,  10,   20,    30,  60};
  return *buckets;
}

const std::vector<double>& ItlBuckets() {
  static const auto* buckets = new std::vector<double>{
      0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01,
      0.015,  0.02,   0.03,   0.05,   0.075,   0.1,   0.15,   0.2,   0.3,   0.5,   0.75,   1};
  return *buckets;
}

const std::vector<double>& RequestBuckets() {
  static const auto* buckets = new std::vector<double>{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,   2,
                                                       5,    10,   20,   30,  60,  120, 300, 600};
  return *buckets;
}

const std::vector<double>& TokenBuckets() {
  static const auto* buckets = [] {
    auto* powers = new std::vector<double>;
    for (int tokens = 1; tokens <= 131072; tokens *= 2) powers->push_back(tokens);
    return powers;
  }();
  return *buckets;
}

namespace {

// prometheus-cpp throws on a misspelt name or a second kind of metric: our own mistake either way.
template <typename Add>
auto& Checked(const std::string& name, Add add) {
  try {
    return add();
  } catch (const std::exception& e) {
    CHECK(false, "metric {}: {}", name, e.what());
  }
}

}  // namespace

Metrics::Metrics(Labels constant)
    : constant_(std::move(constant)),
      registry_(std::make_shared<prometheus::Registry>()),
      collector_(std::make_shared<Collector>()) {
  collector_->registry = registry_;
}

Metrics::~Metrics() = default;

Counter& Metrics::AddCounter(const std::string& name, const std::string& help,
                             const Labels& labels) {
  return Checked(name, [&]() -> Counter& {
    return prometheus::BuildCounter()
        .Name(name)
        .Help(help)
        .Labels(constant_)
        .Register(*registry_)
        .Add(labels);
  });
}

Gauge& Metrics::AddGauge(const std::string& name, const std::string& help, const Labels& labels) {
  return Checked(name, [&]() -> Gauge& {
    return prometheus::BuildGauge()
        .Name(name)
        .Help(help)
        .Labels(constant_)
        .Register(*registry_)
        .Add(labels);
  });
}

Histogram& Metrics::AddHistogram(const std::string& name, const std::string& help,
                                 const std::vector<double>& buckets, const Labels& labels) {
  return Checked(name, [&]() -> Histogram& {
    return prometheus::BuildHistogram()
        .Name(name)
        .Help(help)
        .Labels(constant_)
        .Register(*registry_)
        .Add(labels, buckets);
  });
}

void Metrics::BeforeExposition(std::function<void()> refresh) {
  std::lock_guard lock(collector_->mutex);
  collector_->refreshes.push_back(std::move(refresh));
}

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(collector_->Collect());
}

void RaiseTo(Counter& counter, double total) {
  const double missing = total - counter.Value();
  if (missing > 0) counter.Increment(missing);
}

absl::StatusOr<std::unique_ptr<MetricsPage>> MetricsPage::Listen(const std::string& address,
                                                                 const Metrics& metrics) {
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, /*num_threads=*/2);
    exposer->RegisterCollectable(metrics.collector_);
    return std::unique_ptr<MetricsPage>(new MetricsPage(std::move(exposer)));
  } catch (const std::exception& e) {
    return Unavailable("cannot listen on {} for metrics: {}", address, e.what());
  }
}

MetricsPage::MetricsPage(std::unique_ptr<prometheus::Exposer> exposer)
    : exposer_(std::move(exposer)) {}

MetricsPage::~MetricsPage() = default;

int MetricsPage::port() const {
  const std::vector<int> ports = exposer_->GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

}  // namespace baton::telemetry
