#include "common/telemetry/tracing/trace_context.h"

#include "opentelemetry/context/propagation/text_map_propagator.h"
#include "opentelemetry/sdk/trace/random_id_generator.h"
#include "opentelemetry/sdk/trace/samplers/trace_id_ratio.h"
#include "opentelemetry/trace/propagation/http_trace_context.h"
#include "opentelemetry/trace/span_context_kv_iterable_view.h"

namespace baton::telemetry {
namespace {

namespace otel = opentelemetry;

otel::nostd::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// The two headers, as the SDK's propagator reads and writes them.
class Headers : public otel::context::propagation::TextMapCarrier {
 public:
  otel::nostd::string_view Get(otel::nostd::string_view key) const noexcept override {
    if (key == otel::trace::propagation::kTraceParent) return View(parent);
    if (key == otel::trace::propagation::kTraceState) return View(state);
    return "";
  }
  void Set(otel::nostd::string_view key, otel::nostd::string_view value) noexcept override {
    if (key == otel::trace::propagation::kTraceParent) parent = {value.data(), value.size()};
  }

  std::string parent;
  std::string state;
};

// Seeds itself once per thread.
otel::sdk::trace::RandomIdGenerator& Ids() {
  static auto* ids = new otel::sdk::trace::RandomIdGenerator;
  return *ids;
}

}  // namespace

std::optional<TraceContext> ParseTraceContext(std::string_view traceparent,
                                              std::string_view tracestate) {
  Headers headers;
  headers.parent = traceparent;
  headers.state = tracestate;
  otel::context::Context none;
  const auto read = otel::trace::propagation::HttpTraceContext().Extract(headers, none);
  const otel::trace::SpanContext found = otel::trace::GetSpan(read)->GetContext();
  if (!found.IsValid()) return std::nullopt;
  TraceContext context;
  found.trace_id().CopyBytesTo(context.trace);
  found.span_id().CopyBytesTo(context.span);
  context.sampled = found.IsSampled();
  context.state = found.trace_state()->ToHeader();
  return context;
}

std::string Traceparent(const TraceContext& context) {
  const otel::trace::SpanContext written(
      otel::trace::TraceId(context.trace), otel::trace::SpanId(context.span),
      otel::trace::TraceFlags(context.sampled ? otel::trace::TraceFlags::kIsSampled : 0),
      /*is_remote=*/false);
  otel::context::Context none;
  const otel::nostd::shared_ptr<otel::trace::Span> span(new otel::trace::DefaultSpan(written));
  Headers headers;
  otel::trace::propagation::HttpTraceContext().Inject(headers, otel::trace::SetSpan(none, span));
  return headers.parent;
}

std::string TraceIdText(const TraceId& trace) {
  char digits[2 * sizeof(TraceId)];
  otel::trace::TraceId(trace).ToLowerBase16(digits);
  return {digits, sizeof digits};
}

TraceId NewTraceId() {
  TraceId id{};
  Ids().GenerateTraceId().CopyBytesTo(id);
  return id;
}

SpanId NewSpanId() {
  SpanId id{};
  Ids().GenerateSpanId().CopyBytesTo(id);
  return id;
}

bool SampledByRatio(const TraceId& trace, double ratio) {
  otel::sdk::trace::TraceIdRatioBasedSampler sampler(ratio);
  const std::map<std::string, std::string> no_attributes;
  const std::vector<std::pair<otel::trace::SpanContext, std::map<std::string, std::string>>>
      no_links;
  auto result = sampler.ShouldSample(
      otel::trace::SpanContext::GetInvalid(), otel::trace::TraceId(trace), "",
      otel::trace::SpanKind::kServer,
      otel::common::KeyValueIterableView<std::map<std::string, std::string>>(no_attributes),
      otel::trace::SpanContextKeyValueIterableView<
          std::vector<std::pair<otel::trace::SpanContext, std::map<std::string, std::string>>>>(
          no_links));
  return result.IsSampled();
}

}  // namespace baton::telemetry
