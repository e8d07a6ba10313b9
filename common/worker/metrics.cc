#include "common/worker/metrics.h"

#include <algorithm>

#include "common/rpc/convert.h"

namespace baton::worker {
namespace {

// A counter kept elsewhere, shown here.
void Mirror(telemetry::Counter& counter, double value) {
  counter.Increment(std::max(0.0, value - counter.Value()));
}

}  // namespace

v1::Load ReportOf(const engine::LoadReport& load, const HandoverCounters& handovers) {
  v1::Load report = rpc::ToProto(load);
  report.set_kv_bytes(handovers.bytes);
  report.set_kv_busy_seconds(handovers.seconds);
  report.set_handovers_failed(handovers.failed);
  return report;
}

absl::StatusOr<std::unique_ptr<WorkerMetrics>> WorkerMetrics::Listen(
    const std::string& address, const std::string& role, const std::string& model,
    const engine::Engine& engine, std::function<HandoverCounters()> handovers) {
  std::unique_ptr<WorkerMetrics> metrics(
      new WorkerMetrics(role, model, engine, std::move(handovers)));
  if (address.empty()) return metrics;
  ASSIGN_OR_RETURN(metrics->page_, telemetry::MetricsPage::Listen(address, metrics->metrics_));
  metrics->address_ =
      fmt::format("{}:{}", address.substr(0, address.rfind(':')), metrics->page_->port());
  return metrics;
}

WorkerMetrics::WorkerMetrics(const std::string& role, const std::string& model,
                             const engine::Engine& engine,
                             std::function<HandoverCounters()> handovers)
    : metrics_({{"role", role}, {"model", model}}) {
  MirrorLoad(engine);
  MirrorSteps(engine);
  MirrorHandovers(std::move(handovers));
}

void WorkerMetrics::MirrorLoad(const engine::Engine& engine) {
  constexpr char kSequences[] = "baton_sequences";
  constexpr char kSequencesHelp[] = "Sequences by state";
  auto& waiting = metrics_.AddGauge(kSequences, kSequencesHelp, {{"state", "waiting"}});
  auto& running = metrics_.AddGauge(kSequences, kSequencesHelp, {{"state", "running"}});
  constexpr char kBlocks[] = "baton_kv_blocks";
  constexpr char kBlocksHelp[] =
      "KV blocks by state: free, cached (evictable), active (in use), quarantined (awaiting the "
      "end of "
      "a hand-over), replaced (quarantined, with a spare in the pool)";
  auto& free = metrics_.AddGauge(kBlocks, kBlocksHelp, {{"state", "free"}});
  auto& cached = metrics_.AddGauge(kBlocks, kBlocksHelp, {{"state", "cached"}});
  auto& active = metrics_.AddGauge(kBlocks, kBlocksHelp, {{"state", "active"}});
  auto& quarantined = metrics_.AddGauge(kBlocks, kBlocksHelp, {{"state", "quarantined"}});
  auto& replaced = metrics_.AddGauge(kBlocks, kBlocksHelp, {{"state", "replaced"}});
  auto& waiting_tokens = metrics_.AddGauge("baton_waiting_prompt_tokens",
                                           "Prompt tokens accepted and not yet computed");
  auto& steps = metrics_.AddCounter("baton_steps_total", "Passes of the model over a batch");
  auto& preemptions =
      metrics_.AddCounter("baton_preemptions_total", "Sequences put off for lack of blocks");
  auto& computed =
      metrics_.AddCounter("baton_prompt_tokens_total", "Prompt tokens by where they came from",
                          {{"source", "computed"}});
  auto& found =
      metrics_.AddCounter("baton_prompt_tokens_total", "Prompt tokens by where they came from",
                          {{"source", "prefix_cache"}});
  auto& output = metrics_.AddCounter("baton_output_tokens_total", "Tokens generated");
  // The gauges live in metrics_; capturing the references captures the objects.
  metrics_.BeforeExposition([&engine, &waiting, &running, &free, &cached, &active, &quarantined,
                             &replaced, &waiting_tokens, &steps, &preemptions, &computed, &found,
                             &output] {
    const engine::LoadReport load = engine.load();
    waiting.Set(load.waiting);
    running.Set(load.running);
    free.Set(load.blocks_free);
    cached.Set(load.blocks_cached);
    active.Set(load.blocks_active);
    quarantined.Set(load.blocks_quarantined);
    replaced.Set(load.blocks_replaced);
    waiting_tokens.Set(static_cast<double>(load.waiting_tokens));
    Mirror(steps, static_cast<double>(load.steps));
    Mirror(preemptions, static_cast<double>(load.preemptions));
    Mirror(computed, static_cast<double>(load.prompt_tokens));
    Mirror(found, static_cast<double>(load.cached_tokens));
    Mirror(output, static_cast<double>(load.output_tokens));
  });
}

// Seconds per step, tokens per step and the share of the time spent computing are quotients of
// these. Steps that did both kinds of work belong to neither.
void WorkerMetrics::MirrorSteps(const engine::Engine& engine) {
  const auto add = [&](const char* kind, engine::StepWork engine::LoadReport::* work) {
    auto& steps = metrics_.AddCounter(
        "baton_step_work_steps_total",
        "Steps that only computed prompts (prefill) or only generated tokens (decode)",
        {{"kind", kind}});
    auto& seconds = metrics_.AddCounter("baton_step_work_seconds_total",
                                        "Time that steps took which did only one kind of work",
                                        {{"kind", kind}});
    auto& tokens = metrics_.AddCounter(
        "baton_step_work_tokens_total",
        "Prompt tokens computed, or tokens generated, in steps that did only that",
        {{"kind", kind}});
    metrics_.BeforeExposition([&engine, &steps, &seconds, &tokens, work] {
      const engine::StepWork done = engine.load().*work;
      Mirror(steps, static_cast<double>(done.steps));
      Mirror(seconds, done.ms / 1e3);
      Mirror(tokens, static_cast<double>(done.tokens));
    });
  };
  add("prefill", &engine::LoadReport::prefill_work);
  add("decode", &engine::LoadReport::decode_work);
}

void WorkerMetrics::MirrorHandovers(std::function<HandoverCounters()> handovers) {
  auto& bytes = metrics_.AddCounter("baton_kv_transfer_bytes_total", "KV bytes handed over");
  auto& seconds = metrics_.AddCounter("baton_kv_transfer_seconds_total",
                                      "Sender: time with any put under way. Receiver: from asked "
                                      "for to verified, summed over hand-overs");
  auto& completed = metrics_.AddCounter("baton_kv_transfers_total", "Hand-overs by outcome",
                                        {{"outcome", "completed"}});
  auto& failed = metrics_.AddCounter("baton_kv_transfers_total", "Hand-overs by outcome",
                                     {{"outcome", "failed"}});
  auto& mismatches = metrics_.AddCounter("baton_kv_checksum_mismatches_total",
                                         "Blocks that arrived with other bytes than were sent");
  metrics_.BeforeExposition(
      [&bytes, &seconds, &completed, &failed, &mismatches, handovers = std::move(handovers)] {
        const HandoverCounters counters = handovers();
        Mirror(bytes, static_cast<double>(counters.bytes));
        Mirror(seconds, counters.seconds);
        Mirror(completed, static_cast<double>(counters.completed));
        Mirror(failed, static_cast<double>(counters.failed));
        Mirror(mismatches, static_cast<double>(counters.checksum_mismatches));
      });
}

}  // namespace baton::worker
