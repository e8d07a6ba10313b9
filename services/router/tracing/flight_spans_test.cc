#include "services/router/tracing/flight_spans.h"

#include <algorithm>
#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::router {
namespace {

using absl::Milliseconds;
using telemetry::Span;
using telemetry::SpanId;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const telemetry::SpanProcess kRouter = {"baton-router", "router-1"};
const absl::Time kAccepted = absl::UnixEpoch() + absl::Hours(1);

Decision DecisionFor(const std::string& decode, const std::string& prefill) {
  Decision decision;
  decision.decode = WorkerId(decode);
  if (!prefill.empty()) decision.prefill = {WorkerId(prefill)};
  decision.policy = "cost";
  decision.reason = prefill.empty() ? reason::kLocalCheaper : reason::kRemoteCheaper;
  decision.candidates.resize(3);
  decision.candidates[0].decode = WorkerId(decode);
  decision.candidates[0].estimate.ttft_ms = 40;
  return decision;
}

v1::SequenceTimes LocalTimes(double queued_ms, double prefill_ms) {
  v1::SequenceTimes times;
  times.set_queued_ms(queued_ms);
  times.set_prefill_ms(prefill_ms);
  times.set_prompt_tokens(100);
  times.set_prefill_chunks(2);
  return times;
}

// Asked 1 ms after admission; 2 ms on the way there and back; 5 queued, 30 computed, 3 exposed.
v1::SequenceTimes RemoteTimes() {
  v1::SequenceTimes times = LocalTimes(4, 45);
  times.set_prefill_chunks(0);
  times.set_prefill_worker("prefill-0");
  v1::HandoverTimes& handover = *times.mutable_handover();
  handover.set_asked_ms(1);
  handover.set_took_ms(42);
  handover.set_verify_ms(1);
  v1::PrefillFinished& told = *handover.mutable_told();
  told.set_queued_ms(5);
  told.set_compute_ms(30);
  told.set_exposed_ms(3);
  told.set_first_put_ms(10);
  told.set_last_put_ms(38);
  told.set_wire_ms(20);
  told.set_bytes(40'000'000);
  told.set_puts(24);
  told.set_chunks(3);
  return times;
}

// Taken on, tokenized in 1 ms, placed from 1 to 2 ms, first token at 53 ms, over at 100 ms.
FlightReport Report(const v1::SequenceTimes& times) {
  FlightReport report;
  report.request = RequestId("r1");
  report.model = "demo";
  report.accepted_at = kAccepted;
  report.prompt_tokens = 100;
  report.completion_tokens = 20;
  report.state = "completed";
  report.tokenized = Milliseconds(1);
  report.ttft = Milliseconds(53);
  report.total = Milliseconds(100);
  report.trace = RequestTrace{
      .root = {.trace = telemetry::NewTraceId(), .span = telemetry::NewSpanId(), .sampled = true},
      .parent = telemetry::NewSpanId()};
  const bool remote = !times.prefill_worker().empty();
  report.AddPlacement(DecisionFor("decode-0", remote ? "prefill-0" : ""), Milliseconds(1),
                      Milliseconds(2));
  report.placements.back().first_token = report.ttft;
  report.placements.back().measured = times;
  return report;
}

std::vector<Span> SpansOf(const FlightReport& report) {
  return router::SpansOf(report, "ratio", kRouter);
}

const Span* Find(const std::vector<Span>& spans, std::string_view name, std::string_view service) {
  const auto found = std::find_if(spans.begin(), spans.end(), [&](const Span& span) {
    return span.name == name && span.process.service == service;
  });
  return found == spans.end() ? nullptr : &*found;
}

const Span& Get(const std::vector<Span>& spans, std::string_view name, std::string_view service) {
  const Span* found = Find(spans, name, service);
  if (found == nullptr) ADD_FAILURE() << "no " << name << " of " << service;
  return found == nullptr ? spans.front() : *found;
}

template <typename T>
T Attribute(const Span& span, std::string_view name) {
  for (const telemetry::SpanAttribute& attribute : span.attributes) {
    if (attribute.name == name) return std::get<T>(attribute.value);
  }
  ADD_FAILURE() << span.name << " has no " << name;
  return T();
}

// How much of a span its children account for, overlaps counted once.
double Covered(const std::vector<Span>& spans, const Span& parent) {
  std::vector<std::pair<absl::Time, absl::Time>> children;
  for (const Span& span : spans) {
    if (span.parent == parent.id) children.emplace_back(span.start, span.start + span.duration);
  }
  std::sort(children.begin(), children.end());
  absl::Duration covered;
  absl::Time until = parent.start;
  for (const auto& [from, to] : children) {
    if (to > until) covered += to - std::max(from, until);
    until = std::max(until, to);
  }
  return absl::FDivDuration(covered, parent.duration);
}

TEST(FlightSpansTest, ARemotePrefillIsOneTreeOfThreeProcesses) {
  const FlightReport report = Report(RemoteTimes());
  const std::vector<Span> spans = SpansOf(report);
  std::map<SpanId, const Span*> by_id;
  for (const Span& span : spans) {
    EXPECT_EQ(span.trace, report.trace->root.trace);
    EXPECT_TRUE(by_id.emplace(span.id, &span).second) << span.name << " has another one's id";
  }
  std::set<std::string> services;
  for (const Span& span : spans) {
    services.insert(span.process.service);
    if (span.name == "request") continue;
    ASSERT_TRUE(by_id.contains(span.parent)) << span.name;
    const Span& parent = *by_id[span.parent];
    EXPECT_GE(span.start, parent.start) << span.name << " in " << parent.name;
    EXPECT_LE(span.start + span.duration, parent.start + parent.duration)
        << span.name << " in " << parent.name;
  }
  EXPECT_THAT(services, ElementsAre("baton-decode-worker", "baton-prefill-worker", "baton-router"));
  EXPECT_EQ(spans.front().id, report.trace->root.span);
  EXPECT_EQ(spans.front().parent, report.trace->parent);
}

TEST(FlightSpansTest, TheChildrenAccountForTheRequest) {
  for (const v1::SequenceTimes& times : {RemoteTimes(), LocalTimes(4, 45)}) {
    const std::vector<Span> spans = SpansOf(Report(times));
    EXPECT_GE(Covered(spans, spans.front()), 0.97);
  }
}

TEST(FlightSpansTest, AWorkersTimeIsLaidInTheMiddleOfWhatTheRouterHasSeen) {
  // 51 ms between placement and first token, 49 of them the worker's.
  const std::vector<Span> spans = SpansOf(Report(LocalTimes(4, 45)));
  EXPECT_EQ(Get(spans, "queue", "baton-decode-worker").start, kAccepted + Milliseconds(3));
  EXPECT_EQ(Get(spans, "prefill", "baton-decode-worker").start, kAccepted + Milliseconds(7));
  EXPECT_EQ(Get(spans, "decode", "baton-decode-worker").start, kAccepted + Milliseconds(52));
}

TEST(FlightSpansTest, TheTransferIsMeasuredAtBothEnds) {
  const std::vector<Span> spans = SpansOf(Report(RemoteTimes()));
  const Span& received = Get(spans, "kv_transfer", "baton-decode-worker");
  const Span& sent = Get(spans, "kv_transfer", "baton-prefill-worker");
  EXPECT_EQ(sent.parent, received.id);
  EXPECT_EQ(received.parent, Get(spans, "prefill", "baton-decode-worker").id);
  EXPECT_EQ(Attribute<int64_t>(sent, "baton.kv.bytes"), 40'000'000);
  EXPECT_EQ(Attribute<int64_t>(received, "baton.kv.bytes"), 40'000'000);
  EXPECT_DOUBLE_EQ(Attribute<double>(sent, "baton.kv.wire_seconds"), 0.02);
  EXPECT_DOUBLE_EQ(Attribute<double>(sent, "baton.kv.gb_per_s"), 2);
  EXPECT_DOUBLE_EQ(Attribute<double>(sent, "baton.kv.exposed_seconds"), 0.003);
  EXPECT_DOUBLE_EQ(Attribute<double>(received, "baton.kv.verify_seconds"), 0.001);
  // 3 ms until the last put was over, 2 for the word of it to come, 1 to verify.
  EXPECT_NEAR(Attribute<double>(received, "baton.kv.exposed_seconds"), 0.006, 1e-9);
  EXPECT_EQ(sent.duration, Milliseconds(28));
  EXPECT_EQ(
      Attribute<int64_t>(Get(spans, "prefill", "baton-prefill-worker"), "baton.prefill.chunks"), 3);
}

TEST(FlightSpansTest, ALocalPrefillHandsNothingOver) {
  const std::vector<Span> spans = SpansOf(Report(LocalTimes(4, 45)));
  EXPECT_EQ(Find(spans, "kv_transfer", "baton-decode-worker"), nullptr);
  EXPECT_FALSE(
      Attribute<bool>(Get(spans, "prefill", "baton-decode-worker"), "baton.prefill.remote"));
}

TEST(FlightSpansTest, TheDecisionIsAnEventWithItsInputs) {
  const std::vector<Span> spans = SpansOf(Report(RemoteTimes()));
  const Span& route = Get(spans, "route", "baton-router");
  ASSERT_THAT(route.events, SizeIs(4));  // and three candidates
  EXPECT_EQ(route.events[0].name, "decision");
  EXPECT_EQ(route.events[1].name, "candidate");
}

TEST(FlightSpansTest, AMigratedRequestHasLinkedAttempts) {
  FlightReport report = Report(LocalTimes(4, 45));
  report.placements.back().left = Milliseconds(70);
  report.placements.back().left_because = "its worker is leaving";
  report.AddPlacement(DecisionFor("decode-1", "decode-0"), Milliseconds(70), Milliseconds(71));
  report.placements.back().first_token = Milliseconds(80);
  report.placements.back().measured = LocalTimes(1, 7);
  const std::vector<Span> spans = SpansOf(report);
  std::vector<const Span*> routes, decodes;
  for (const Span& span : spans) {
    if (span.name == "route") routes.push_back(&span);
    if (span.name == "decode") decodes.push_back(&span);
  }
  ASSERT_THAT(routes, SizeIs(2));
  ASSERT_THAT(decodes, SizeIs(2));
  EXPECT_THAT(routes[0]->links, IsEmpty());
  ASSERT_THAT(routes[1]->links, SizeIs(1));
  EXPECT_EQ(routes[1]->links[0].to, decodes[0]->id);
  ASSERT_THAT(decodes[1]->links, SizeIs(1));
  EXPECT_EQ(decodes[1]->links[0].to, decodes[0]->id);
  EXPECT_EQ(Attribute<int64_t>(*decodes[1], "baton.attempt"), 2);
  EXPECT_EQ(Attribute<std::string>(*decodes[0], "baton.left_because"), "its worker is leaving");
  EXPECT_EQ(decodes[0]->start + decodes[0]->duration, kAccepted + Milliseconds(70));
  EXPECT_GE(Covered(spans, spans.front()), 0.95);
}

TEST(FlightSpansTest, KvFetchedFromAWorkerThatIsLeavingIsThatWorkersSpan) {
  FlightReport report = Report(LocalTimes(4, 45));
  report.placements.back().left = Milliseconds(60);
  report.AddPlacement(DecisionFor("decode-1", "decode-0"), Milliseconds(60), Milliseconds(61));
  report.placements.back().first_token = Milliseconds(98);
  v1::SequenceTimes fetched = RemoteTimes();
  fetched.set_prefill_worker("decode-0");
  report.placements.back().measured = fetched;
  for (const Span& span : SpansOf(report)) {
    EXPECT_NE(span.process.service, "baton-prefill-worker") << span.name;
  }
}

TEST(FlightSpansTest, AnAttemptWhoseWorkerSaidNothingStillHasItsTime) {
  FlightReport report = Report(LocalTimes(4, 45));
  report.placements.back().measured.reset();
  report.placements.back().first_token.reset();
  report.placements.back().left = Milliseconds(40);
  report.placements.back().left_because = "the decode worker was lost";
  report.ttft.reset();
  report.state = "failed";
  report.error = "nobody is left";
  report.total = Milliseconds(41);
  const std::vector<Span> spans = SpansOf(report);
  const Span& silent = Get(spans, "prefill", "baton-decode-worker");
  EXPECT_FALSE(Attribute<bool>(silent, "baton.measured"));
  EXPECT_EQ(silent.duration, Milliseconds(38));
  EXPECT_TRUE(silent.failed);
  EXPECT_TRUE(spans.front().failed);
  EXPECT_EQ(spans.front().error, "nobody is left");
  EXPECT_EQ(Find(spans, "detokenize", "baton-router"), nullptr);
}

TEST(FlightSpansTest, ARequestThatWaitedInTheRouterHasThatQueueToo) {
  FlightReport report = Report(LocalTimes(4, 45));
  report.queued_from = Milliseconds(1);
  report.queued = Milliseconds(20);
  const std::vector<Span> spans = SpansOf(report);
  EXPECT_EQ(Get(spans, "queue", "baton-router").duration, Milliseconds(20));
  EXPECT_NE(Find(spans, "queue", "baton-decode-worker"), nullptr);
}

TEST(FlightSpansTest, AttemptsThatAreNotKeptAreCounted) {
  FlightReport report = Report(LocalTimes(4, 45));
  for (int i = 0; i < 20; ++i) {
    report.placements.back().left = report.placements.back().after + Milliseconds(1);
    report.AddPlacement(DecisionFor("decode-1", ""), Milliseconds(60 + i), Milliseconds(60 + i));
  }
  std::vector<int64_t> attempts;
  for (const Span& span : SpansOf(report)) {
    if (span.name == "route") attempts.push_back(Attribute<int64_t>(span, "baton.attempt"));
  }
  EXPECT_THAT(attempts, ElementsAre(1, 15, 16, 17, 18, 19, 20, 21));
}

}  // namespace
}  // namespace baton::router
