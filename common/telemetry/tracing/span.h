#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/telemetry/tracing/trace_context.h"

namespace baton::telemetry {

// A name (a literal: it is not copied) and a value.
struct SpanAttribute {
  using Value = std::variant<bool, int64_t, double, std::string>;
  std::string_view name;
  Value value;

  SpanAttribute(std::string_view name, bool value) : name(name), value(value) {}
  SpanAttribute(std::string_view name, std::integral auto value)
      : name(name), value(static_cast<int64_t>(value)) {}
  SpanAttribute(std::string_view name, double value) : name(name), value(value) {}
  SpanAttribute(std::string_view name, std::string value) : name(name), value(std::move(value)) {}
  SpanAttribute(std::string_view name, std::string_view value)
      : name(name), value(std::string(value)) {}
  SpanAttribute(std::string_view name, const char* value) : name(name), value(std::string(value)) {}
};
using SpanAttributes = std::vector<SpanAttribute>;

// Whose time a span was: what OpenTelemetry calls a resource.
struct SpanProcess {
  std::string service;   // "baton-router", "baton-decode-worker", …
  std::string instance;  // which one of them
};

// What a sender or a receiver of a message has done, or neither.
enum class SpanKind : uint8_t { kInternal, kServer, kProducer, kConsumer };

// Something that took time, when it is over. A plain value; knows nothing of any library.
struct Span {
  struct Event {
    std::string_view name;  // a literal
    absl::Time at;
    SpanAttributes attributes;
  };
  struct Link {
    SpanId to{};  // a span of the same trace
    SpanAttributes attributes;
  };

  TraceId trace{};
  SpanId id{};
  SpanId parent{};  // none: the trace begins here
  std::string state;
  std::string_view name;  // a literal
  SpanKind kind = SpanKind::kInternal;
  SpanProcess process;
  absl::Time start;
  absl::Duration duration;
  SpanAttributes attributes;
  std::vector<Event> events;
  std::vector<Link> links;
  bool failed = false;
  std::string error;  // of a failed one
};

}  // namespace baton::telemetry
