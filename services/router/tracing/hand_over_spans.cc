#include "services/router/tracing/hand_over_spans.h"

#include <algorithm>

namespace baton::router {
namespace {

using telemetry::Span;
using telemetry::SpanId;
using telemetry::SpanKind;

double GigabytesPerSecond(uint64_t bytes, absl::Duration time) {
  const double seconds = absl::ToDoubleSeconds(time);
  return seconds > 0 ? static_cast<double>(bytes) / seconds / 1e9 : 0;
}

// When the prefill worker was asked, on the decode worker's clock: the way there is taken to be as
// long as the way back.
absl::Duration BegunAt(const v1::HandoverTimes& times, absl::Duration asked) {
  const double there_ms =
      times.told().queued_ms() + times.told().compute_ms() + times.told().exposed_ms();
  return asked + absl::Milliseconds(std::max(0.0, times.took_ms() - there_ms) / 2);
}

void WriteSender(const HandOver& hand_over, const SpanId& parent, absl::Duration begun,
                 SpanWriter& writer) {
  const v1::PrefillFinished& told = hand_over.times.told();
  const absl::Duration computing = begun + absl::Milliseconds(told.queued_ms());
  writer.Add("queue", parent, hand_over.prefill, {begun, computing});
  Span& prefill = writer.Add("prefill", parent, hand_over.prefill,
                             {computing, computing + absl::Milliseconds(told.compute_ms())});
  prefill.kind = SpanKind::kServer;
  prefill.attributes = {{"baton.prefill.chunks", told.chunks()},
                        {"baton.prefill.cached_tokens", told.cached_tokens()}};
  if (told.puts() == 0) return;
  const absl::Duration wire = absl::Milliseconds(told.wire_ms());
  Span& transfer = writer.Add("kv_transfer", parent, hand_over.prefill,
                              {begun + absl::Milliseconds(told.first_put_ms()),
                               begun + absl::Milliseconds(told.last_put_ms())});
  transfer.kind = SpanKind::kProducer;
  transfer.attributes = {{"baton.kv.bytes", told.bytes()},
                         {"baton.kv.puts", told.puts()},
                         {"baton.kv.wire_seconds", absl::ToDoubleSeconds(wire)},
                         {"baton.kv.gb_per_s", GigabytesPerSecond(told.bytes(), wire)},
                         {"baton.kv.exposed_seconds", told.exposed_ms() / 1e3}};
}

}  // namespace

void WriteHandOver(const HandOver& hand_over, SpanWriter& writer) {
  const v1::HandoverTimes& times = hand_over.times;
  const v1::PrefillFinished& told = times.told();
  const absl::Duration asked = hand_over.admitted + absl::Milliseconds(times.asked_ms());
  const absl::Duration took = absl::Milliseconds(times.took_ms());
  const absl::Duration verified = asked + took + absl::Milliseconds(times.verify_ms());
  const absl::Duration begun = BegunAt(times, asked);
  const absl::Duration computed = begun + absl::Milliseconds(told.queued_ms() + told.compute_ms());
  Span& transfer = writer.Add("kv_transfer", hand_over.parent, hand_over.decode, {asked, verified});
  transfer.kind = SpanKind::kConsumer;
  transfer.attributes = {
      {"baton.kv.bytes", told.bytes()},
      {"baton.kv.gb_per_s", GigabytesPerSecond(told.bytes(), verified - asked)},
      {"baton.kv.verify_seconds", times.verify_ms() / 1e3},
      // Until the bytes could be read here, the answer's way and the verification included.
      {"baton.kv.exposed_seconds", std::max(0.0, absl::ToDoubleSeconds(verified - computed))}};
  WriteSender(hand_over, SpanId(transfer.id), begun, writer);
}

}  // namespace baton::router
