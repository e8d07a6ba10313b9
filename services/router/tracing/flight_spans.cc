#include "services/router/tracing/flight_spans.h"

#include <algorithm>
#include <optional>
#include <string>

#include "services/router/tracing/hand_over_spans.h"
#include "services/router/tracing/span_writer.h"

namespace baton::router {
namespace {

using telemetry::Span;
using telemetry::SpanAttributes;
using telemetry::SpanId;
using telemetry::SpanProcess;

// Of all that were weighed, the cheapest.
constexpr size_t kCandidatesShown = 8;

class FlightSpans {
 public:
  FlightSpans(const FlightReport& report, const SpanProcess& router)
      : report_(report), router_(router), writer_(*report.trace, report.accepted_at) {}

  std::vector<Span> Write(std::string_view why_kept);

 private:
  // Where an attempt's spans are linked from; none: it had none.
  struct Left {
    std::optional<SpanId> last;
    std::optional<SpanId> decode;
  };

  void WriteRoot(std::string_view why_kept);
  void WriteIntake();
  void WriteDetokenize();
  Left WriteAttempt(size_t index, const Left& before);
  void WriteRoute(size_t index, const Left& before);
  SpanId WriteSilent(size_t index);
  Left WriteMeasured(size_t index, const Left& before);
  SpanId WritePrefill(size_t index, absl::Duration admitted, absl::Duration computed);
  SpanId WriteDecode(size_t index, absl::Duration from, const Left& before);
  void SayHowItEnded(size_t index, Span& span) const;

  const FlightReport::Placement& placement(size_t index) const { return report_.placements[index]; }
  SpanProcess DecodeOf(size_t index) const {
    return {kDecodeService, placement(index).decision.decode.value()};
  }
  SpanProcess PrefillWorker(const std::string& id) const;
  absl::Duration EndOf(size_t index) const { return placement(index).left.value_or(report_.total); }
  // Counted from 1, those that are not kept included.
  int64_t NumberOf(size_t index) const {
    if (index == 0) return 1;
    return report_.placements_total - static_cast<int64_t>(report_.placements.size() - 1 - index);
  }

  const FlightReport& report_;
  const SpanProcess& router_;
  SpanWriter writer_;
};

std::vector<Span> FlightSpans::Write(std::string_view why_kept) {
  WriteRoot(why_kept);
  WriteIntake();
  Left before;
  for (size_t i = 0; i < report_.placements.size(); ++i) before = WriteAttempt(i, before);
  WriteDetokenize();
  return writer_.Take();
}

void FlightSpans::WriteRoot(std::string_view why_kept) {
  Span& root = writer_.AddRoot(router_, report_.total);
  root.attributes = {{"baton.request.id", report_.request.value()},
                     {"baton.tenant", report_.tenant},
                     {"baton.outcome", report_.state},
                     {"baton.trace.kept_because", why_kept},
                     {"baton.attempts", report_.placements_total},
                     {"gen_ai.request.model", report_.model},
                     {"gen_ai.usage.input_tokens", report_.prompt_tokens},
                     {"gen_ai.usage.output_tokens", report_.completion_tokens}};
  if (report_.ttft) {
    root.attributes.emplace_back("baton.ttft_seconds", absl::ToDoubleSeconds(*report_.ttft));
  }
  root.failed = report_.state == "failed";
  root.error = report_.error;
}

void FlightSpans::WriteIntake() {
  Span& tokenize =
      writer_.Add("tokenize", writer_.root(), router_, {absl::ZeroDuration(), report_.tokenized});
  tokenize.attributes = {{"gen_ai.usage.input_tokens", report_.prompt_tokens}};
  if (!report_.queued) return;
  writer_.Add("queue", writer_.root(), router_,
              {report_.queued_from, report_.queued_from + *report_.queued});
}

void FlightSpans::WriteDetokenize() {
  if (!report_.ttft) return;
  Span& span = writer_.Add("detokenize", writer_.root(), router_, {*report_.ttft, report_.total});
  span.attributes = {{"baton.detokenize.busy_seconds", absl::ToDoubleSeconds(report_.detokenizing)},
                     {"gen_ai.usage.output_tokens", report_.completion_tokens}};
}

FlightSpans::Left FlightSpans::WriteAttempt(size_t index, const Left& before) {
  WriteRoute(index, before);
  Left left = before;
  if (placement(index).measured) {
    left = WriteMeasured(index, before);
  } else {
    left.last = WriteSilent(index);
  }
  return left;
}

void FlightSpans::WriteRoute(size_t index, const Left& before) {
  const FlightReport::Placement& placed = placement(index);
  const Decision& decision = placed.decision;
  Span& route = writer_.Add("route", writer_.root(), router_, {placed.asked, placed.after});
  route.attributes = {{"baton.attempt", NumberOf(index)}};
  if (before.last) route.links.push_back({*before.last, {{"baton.link", "previous_attempt"}}});
  const absl::Time at = writer_.At(placed.after);
  SpanAttributes inputs = {
      {"baton.policy", decision.policy},
      {"baton.reason", decision.reason},
      {"baton.decode", decision.decode.value()},
      {"baton.prefill", decision.prefill.empty() ? "" : decision.prefill.front().value()},
      {"baton.prompt_tokens", decision.request.prompt_tokens},
      {"baton.choices", decision.request.choices},
      {"baton.priority", decision.request.priority},
      {"baton.candidates", decision.candidates.size()}};
  if (const std::string_view to = placed.turned_to(); !to.empty()) {
    inputs.emplace_back("baton.turned_to", to);
  }
  route.events.push_back({"decision", at, std::move(inputs)});
  const size_t shown = std::min(kCandidatesShown, decision.candidates.size());
  for (size_t i = 0; i < shown; ++i) {
    const Candidate& candidate = decision.candidates[i];
    route.events.push_back({"candidate",
                            at,
                            {{"baton.decode", candidate.decode.value()},
                             {"baton.prefill", candidate.prefill.value()},
                             {"baton.cached_tokens.decode", candidate.cached_tokens_decode},
                             {"baton.cached_tokens.prefill", candidate.cached_tokens_prefill},
                             {"baton.estimate.ttft_ms", candidate.estimate.ttft_ms},
                             {"baton.estimate.harm_ms", candidate.estimate.harm_ms},
                             {"baton.estimate.total_ms", candidate.estimate.total_ms}}});
  }
}

// Its worker was lost, or the request ended, before it had a token: how it spent the time is known
// to nobody.
SpanId FlightSpans::WriteSilent(size_t index) {
  Span& span = writer_.Add("prefill", writer_.root(), DecodeOf(index),
                           {placement(index).after, EndOf(index)});
  span.attributes = {{"baton.attempt", NumberOf(index)}, {"baton.measured", false}};
  SayHowItEnded(index, span);
  return span.id;
}

// The worker's own durations, laid in the middle of the time between its being asked and its first
// token: the way there is taken to be as long as the way back.
FlightSpans::Left FlightSpans::WriteMeasured(size_t index, const Left& before) {
  const FlightReport::Placement& placed = placement(index);
  const absl::Duration queued = absl::Milliseconds(placed.measured->queued_ms());
  const absl::Duration prefill = absl::Milliseconds(placed.measured->prefill_ms());
  const absl::Duration told = placed.first_token.value_or(EndOf(index));
  const absl::Duration on_the_way = told - placed.after - queued - prefill;
  const absl::Duration begun = placed.after + std::max(absl::ZeroDuration(), on_the_way / 2);
  const absl::Duration admitted = begun + queued;
  writer_.Add("queue", writer_.root(), DecodeOf(index), {begun, admitted}).attributes = {
      {"baton.attempt", NumberOf(index)}};
  Left left = before;
  left.last = WritePrefill(index, admitted, admitted + prefill);
  if (!placed.first_token) return left;
  left.decode = left.last = WriteDecode(index, admitted + prefill, before);
  return left;
}

SpanId FlightSpans::WritePrefill(size_t index, absl::Duration admitted, absl::Duration computed) {
  const v1::SequenceTimes& measured = *placement(index).measured;
  Span& span = writer_.Add("prefill", writer_.root(), DecodeOf(index), {admitted, computed});
  span.attributes = {{"baton.attempt", NumberOf(index)},
                     {"baton.prefill.remote", measured.has_handover()},
                     {"baton.prefill.worker", measured.prefill_worker()},
                     {"baton.prefill.chunks", measured.prefill_chunks()},
                     {"baton.prefill.cached_tokens", measured.cached_tokens()},
                     {"baton.prompt_tokens", measured.prompt_tokens()}};
  for (const v1::HandoverFailure& failure : measured.failures()) {
    span.events.push_back({"handover_failed",
                           span.start,
                           {{"baton.prefill.worker", failure.prefill_worker()},
                            {"baton.status_code", failure.status_code()},
                            {"baton.why", failure.message()}}});
  }
  const SpanId id = span.id;
  if (!placement(index).first_token) SayHowItEnded(index, span);
  if (measured.has_handover()) {
    WriteHandOver({.times = measured.handover(),
                   .decode = DecodeOf(index),
                   .prefill = PrefillWorker(measured.prefill_worker()),
                   .parent = id,
                   .admitted = admitted},
                  writer_);
  }
  return id;
}

SpanId FlightSpans::WriteDecode(size_t index, absl::Duration from, const Left& before) {
  Span& span = writer_.Add("decode", writer_.root(), DecodeOf(index), {from, EndOf(index)});
  span.attributes = {{"baton.attempt", NumberOf(index)},
                     {"baton.preemptions", placement(index).measured->preemptions()}};
  if (before.decode) span.links.push_back({*before.decode, {{"baton.link", "continues"}}});
  SayHowItEnded(index, span);
  return span.id;
}

void FlightSpans::SayHowItEnded(size_t index, Span& span) const {
  const std::string& why = placement(index).left_because;
  if (!why.empty()) span.attributes.emplace_back("baton.left_because", why);
  const bool last = index + 1 == report_.placements.size();
  if (!last || report_.state != "failed") return;
  span.failed = true;
  span.error = report_.error;
}

// A request that moves fetches its KV from the decode worker that it leaves.
SpanProcess FlightSpans::PrefillWorker(const std::string& id) const {
  const bool decodes = std::any_of(
      report_.placements.begin(), report_.placements.end(),
      [&](const FlightReport::Placement& placed) { return placed.decision.decode.value() == id; });
  return {decodes ? kDecodeService : kPrefillService, id};
}

}  // namespace

std::vector<Span> SpansOf(const FlightReport& report, std::string_view why_kept,
                          const SpanProcess& router) {
  return FlightSpans(report, router).Write(why_kept);
}

}  // namespace baton::router
