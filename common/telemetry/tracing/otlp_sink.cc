#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "common/telemetry/tracing/span_sink.h"
#include "opentelemetry/common/key_value_iterable.h"
#include "opentelemetry/exporters/otlp/otlp_grpc_exporter_factory.h"
#include "opentelemetry/exporters/otlp/otlp_http_exporter_factory.h"
#include "opentelemetry/exporters/otlp/otlp_http_exporter_options.h"
#include "opentelemetry/sdk/common/global_log_handler.h"
#include "opentelemetry/sdk/instrumentationscope/instrumentation_scope.h"
#include "opentelemetry/sdk/resource/resource.h"
#include "opentelemetry/sdk/trace/exporter.h"
#include "opentelemetry/sdk/trace/recordable.h"
#include "opentelemetry/trace/span_context.h"

namespace baton::telemetry {
namespace {

namespace otel = opentelemetry;

constexpr std::string_view kGrpc = "grpc://";
constexpr std::string_view kHttp = "http://";
constexpr char kTracesPath[] = "/v1/traces";

otel::nostd::string_view View(std::string_view text) { return {text.data(), text.size()}; }

otel::common::AttributeValue ValueOf(const SpanAttribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return View(*text);
  if (const auto* number = std::get_if<double>(&attribute.value)) return *number;
  if (const auto* count = std::get_if<int64_t>(&attribute.value)) return *count;
  return std::get<bool>(attribute.value);
}

// Our attributes, as the SDK walks over any.
class Attributes : public otel::common::KeyValueIterable {
 public:
  explicit Attributes(const SpanAttributes& attributes) : attributes_(attributes) {}
  bool ForEachKeyValue(
      otel::nostd::function_ref<bool(otel::nostd::string_view, otel::common::AttributeValue)> each)
      const noexcept override {
    for (const SpanAttribute& attribute : attributes_) {
      if (!each(View(attribute.name), ValueOf(attribute))) return false;
    }
    return true;
  }
  size_t size() const noexcept override { return attributes_.size(); }

 private:
  const SpanAttributes& attributes_;
};

otel::trace::SpanKind KindOf(SpanKind kind) {
  switch (kind) {
    case SpanKind::kServer:
      return otel::trace::SpanKind::kServer;
    case SpanKind::kProducer:
      return otel::trace::SpanKind::kProducer;
    case SpanKind::kConsumer:
      return otel::trace::SpanKind::kConsumer;
    case SpanKind::kInternal:
      break;
  }
  return otel::trace::SpanKind::kInternal;
}

otel::trace::SpanContext ContextOf(const Span& span, const SpanId& id) {
  return {otel::trace::TraceId(span.trace), otel::trace::SpanId(id),
          otel::trace::TraceFlags(otel::trace::TraceFlags::kIsSampled), /*is_remote=*/false,
          otel::trace::TraceState::FromHeader(span.state)};
}

otel::common::SystemTimestamp MomentOf(absl::Time time) {
  return otel::common::SystemTimestamp(std::chrono::nanoseconds(absl::ToUnixNanos(time)));
}

void Write(const Span& span, otel::sdk::trace::Recordable& to) {
  to.SetIdentity(ContextOf(span, span.id), otel::trace::SpanId(span.parent));
  to.SetName(View(span.name));
  to.SetSpanKind(KindOf(span.kind));
  to.SetStartTime(MomentOf(span.start));
  to.SetDuration(absl::ToChronoNanoseconds(span.duration));
  for (const SpanAttribute& attribute : span.attributes) {
    to.SetAttribute(View(attribute.name), ValueOf(attribute));
  }
  for (const Span::Event& event : span.events) {
    to.AddEvent(View(event.name), MomentOf(event.at), Attributes(event.attributes));
  }
  for (const Span::Link& link : span.links) {
    to.AddLink(ContextOf(span, link.to), Attributes(link.attributes));
  }
  if (span.failed) to.SetStatus(otel::trace::StatusCode::kError, span.error);
}

// The SDK tells why an export failed to its log alone, and its HTTP exporter even that it failed:
// this keeps the first error since it was last asked, and nothing reaches stderr past our own log.
class Complaint : public otel::sdk::common::internal_log::LogHandler {
 public:
  void Handle(otel::sdk::common::internal_log::LogLevel level, const char*, int,
              const char* message, const otel::sdk::common::AttributeMap&) noexcept override {
    if (level != otel::sdk::common::internal_log::LogLevel::Error || message == nullptr) return;
    std::lock_guard lock(mutex_);
    if (text_.empty()) text_ = message;
  }
  // Empty: there was none.
  std::string Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(text_, "");
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

Complaint& ListenToSdk() {
  static Complaint* const listener = [] {
    auto* made = new Complaint;
    otel::sdk::common::internal_log::GlobalLogHandler::SetLogHandler(
        otel::nostd::shared_ptr<otel::sdk::common::internal_log::LogHandler>(made));
    return made;
  }();
  return *listener;
}

class OtlpSink : public SpanSink {
 public:
  OtlpSink(std::unique_ptr<otel::sdk::trace::SpanExporter> exporter, std::string endpoint)
      : exporter_(std::move(exporter)),
        endpoint_(std::move(endpoint)),
        complaint_(ListenToSdk()),
        scope_(otel::sdk::instrumentationscope::InstrumentationScope::Create("baton")) {}

  absl::Status Send(std::span<const Span> spans) override {
    // Workers come and go with names of their own: resources live as long as this batch.
    std::map<std::pair<std::string, std::string>, otel::sdk::resource::Resource> resources;
    std::vector<std::unique_ptr<otel::sdk::trace::Recordable>> batch;
    batch.reserve(spans.size());
    for (const Span& span : spans) {
      auto& recordable = batch.emplace_back(exporter_->MakeRecordable());
      recordable->SetResource(ResourceOf(span.process, resources));
      recordable->SetInstrumentationScope(*scope_);
      Write(span, *recordable);
    }
    complaint_.Take();
    const auto result = exporter_->Export({batch.data(), batch.size()});
    const std::string why = complaint_.Take();
    const bool taken = result == otel::sdk::common::ExportResult::kSuccess && why.empty();
    return taken ? absl::OkStatus() : Unavailable("{}: {}", endpoint_, why);
  }

 private:
  static const otel::sdk::resource::Resource& ResourceOf(
      const SpanProcess& process,
      std::map<std::pair<std::string, std::string>, otel::sdk::resource::Resource>& resources) {
    const std::pair key(process.service, process.instance);
    auto found = resources.find(key);
    if (found == resources.end()) {
      found = resources
                  .emplace(key, otel::sdk::resource::Resource::Create(
                                    {{"service.name", process.service},
                                     {"service.instance.id", process.instance}}))
                  .first;
    }
    return found->second;
  }

  const std::unique_ptr<otel::sdk::trace::SpanExporter> exporter_;
  const std::string endpoint_;
  Complaint& complaint_;
  const std::unique_ptr<otel::sdk::instrumentationscope::InstrumentationScope> scope_;
};

std::unique_ptr<otel::sdk::trace::SpanExporter> OverGrpc(const OtlpOptions& options) {
  otel::exporter::otlp::OtlpGrpcExporterOptions grpc;
  grpc.endpoint = options.endpoint.substr(kGrpc.size());
  grpc.use_ssl_credentials = false;
  grpc.timeout = absl::ToChronoMilliseconds(options.timeout);
  return otel::exporter::otlp::OtlpGrpcExporterFactory::Create(grpc);
}

std::unique_ptr<otel::sdk::trace::SpanExporter> OverHttp(const OtlpOptions& options) {
  otel::exporter::otlp::OtlpHttpExporterOptions http;
  const size_t path = options.endpoint.find('/', kHttp.size());
  http.url = options.endpoint;
  if (path == std::string::npos) http.url += kTracesPath;
  if (path == options.endpoint.size() - 1) http.url.replace(path, 1, kTracesPath);
  http.content_type = otel::exporter::otlp::HttpRequestContentType::kBinary;
  http.timeout = absl::ToChronoMilliseconds(options.timeout);
  return otel::exporter::otlp::OtlpHttpExporterFactory::Create(http);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SpanSink>> OpenOtlp(const OtlpOptions& options) {
  ListenToSdk();
  if (options.endpoint.starts_with(kGrpc)) {
    return std::make_unique<OtlpSink>(OverGrpc(options), options.endpoint);
  }
  if (options.endpoint.starts_with(kHttp)) {
    return std::make_unique<OtlpSink>(OverHttp(options), options.endpoint);
  }
  return InvalidArgument("must be grpc://HOST:PORT or http://HOST:PORT, got '{}'",
                         options.endpoint);
}

}  // namespace baton::telemetry
