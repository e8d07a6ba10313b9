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
    const std::string& address, const std::string& role, const engine::Engine& engine,
    std::function<HandoverCounters()> handovers) {
  std::unique_ptr<WorkerMetrics> metrics(new WorkerMetrics(role, engine, std::move(handovers)));
  if (address.empty()) return metrics;
  ASSIGN_OR_RETURN(metrics->page_, telemetry::MetricsPage::Listen(address, metrics->metrics_));
  metrics->address_ =
      fmt::format("{}:{}", address.substr(0, address.rfind(':')), metrics->page_->port());
  return metrics;
}

WorkerMetrics::WorkerMetrics(const std::string& role, const engine::Engine& engine,
                             std::function<HandoverCounters()> handovers)
    : metrics_({{"role", role}}) {
  MirrorLoad(engine);
  MirrorHandovers(std::move(handovers));
}

void WorkerMetrics::MirrorLoad(const engine::Engine& engine) {
  constexpr char kSequences[] = "baton_sequences";
  constexpr char kSequencesHelp[] = "Sequences by state";
  auto& waiting = metrics_.AddGauge(kSequences, kSequencesHelp, {{"state", "waiting"}});
  auto& running = metrics_.AddGauge(kSequences, kSequencesHelp, {{"state", "running"}});
  constexpr char kBlocks[] = "baton_kv_blocks";
  constexpr char kBlocksHelp[] = "KV blocks by state";
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

void WorkerMetrics::MirrorHandovers(std::function<HandoverCounters()> handovers) {
  auto& bytes = metrics_.AddCounter("baton_kv_transfer_bytes_total", "KV bytes handed over");
  auto& seconds = metrics_.AddCounter("baton_kv_transfer_seconds_total",
                                      "Time with a hand-over under way, summed over hand-overs");
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
