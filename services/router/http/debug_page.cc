#include "services/router/http/debug_page.h"

#include <cmath>

#include "absl/time/clock.h"
#include "services/router/http/decision_json.h"

namespace baton::router {
namespace {

using openai::Json;

Json FitJson(const engine::StepFit& fit) {
  return Json{{"base_ms", fit.base_ms},
              {"per_prefill_token_ms", fit.per_prefill_token_ms},
              {"per_decode_ms", fit.per_decode_ms},
              {"per_context_token_ms", fit.per_context_token_ms},
              {"residual_ms", fit.residual_ms},
              {"samples", fit.samples}};
}

Json LoadJson(const WorkerState& state) {
  const engine::LoadReport& load = state.load.engine;
  return Json{{"waiting", load.waiting},
              {"running", load.running},
              {"waiting_tokens", load.waiting_tokens},
              {"added_sequences", state.added_sequences},
              {"added_tokens", state.added_tokens},
              {"held_sequences", state.held_sequences},
              {"other_sequences", state.other_sequences},
              {"blocks_total", load.blocks_total},
              {"blocks_free", load.blocks_free},
              {"blocks_cached", load.blocks_cached},
              {"blocks_active", load.blocks_active},
              {"blocks_quarantined", load.blocks_quarantined},
              {"steps", load.steps},
              {"preemptions", load.preemptions},
              {"prompt_tokens", load.prompt_tokens},
              {"cached_tokens", load.cached_tokens},
              {"output_tokens", load.output_tokens},
              {"kv_bytes", state.load.kv_bytes},
              {"kv_busy_seconds", state.load.kv_busy_seconds},
              {"handovers_failed", state.load.handovers_failed},
              {"fit", FitJson(load.fit)}};
}

Json WorkerJson(const Roster::Entry& entry) {
  const WorkerProfile& profile = entry.state.profile;
  return Json{{"id", profile.id.value()},
              {"role", NameOf(profile.role)},
              {"model", profile.model},
              {"address", profile.grpc_address},
              {"metrics_address", profile.metrics_address},
              {"fingerprint", profile.fingerprint},
              {"token_fingerprint", profile.token_fingerprint},
              {"backend", profile.device.backend},
              {"device", profile.device.name},
              {"kv_access", profile.device.kv_access},
              {"tensor_parallel_size", profile.tensor_parallel_size},
              {"process_id", profile.process_id},
              {"reachable", entry.reachable || profile.role == WorkerRole::kPrefill},
              {"draining", entry.draining},
              {"suspect", entry.suspect},
              {"ejected", entry.ejected},
              {"report_age_ms", Ms(absl::ToDoubleMilliseconds(entry.report_age))},
              {"block_tokens", profile.block_tokens},
              {"num_blocks", profile.num_blocks},
              {"context_tokens_max", profile.context_tokens_max},
              {"batch_sequences_max", profile.batch_sequences_max},
              {"step_tokens_max", profile.step_tokens_max},
              {"kv_bytes_per_token", profile.kv_bytes_per_token},
              {"indexed_blocks", entry.indexed_blocks},
              {"load", LoadJson(entry.state)}};
}

Json QueueJson(const WaitingRoom& room) {
  const WaitingRoom::State state = room.state();
  Json lines = Json::array();
  for (const WaitingRoom::State::Line& line : state.lines) {
    lines.push_back({{"model", line.model},
                     {"priority", line.priority},
                     {"tenant", room.tenants()[line.tenant].name},
                     {"waiting", line.waiting},
                     {"waiting_tokens", line.tokens_waiting},
                     {"oldest_ms", Ms(absl::ToDoubleMilliseconds(line.oldest))},
                     {"running", line.running},
                     {"lead_tokens", std::round(line.lead_tokens)}});
  }
  Json tenants = Json::array();
  for (size_t i = 0; i < room.tenants().size(); ++i) {
    tenants.push_back({{"name", room.tenants()[i].name},
                       {"weight", room.tenants()[i].weight},
                       {"prompt_tokens", state.served[i].prompt_tokens},
                       {"output_tokens", state.served[i].output_tokens}});
  }
  return Json{{"waiting", state.waiting},
              {"waiting_tokens", state.tokens_waiting},
              {"requests_per_second", state.requests_per_second},
              {"lines", std::move(lines)},
              {"tenants", std::move(tenants)}};
}

}  // namespace

std::string DebugClusterJson(const Roster& roster, const Dispatcher& dispatcher, size_t decisions) {
  const PolicyTable::Setting placement = dispatcher.policies().setting();
  Json json;
  json["router"] = Json{{"version", BATON_VERSION},
                        {"wall_clock_us", absl::ToUnixMicros(absl::Now())},
                        {"ready", dispatcher.ready()},
                        {"placement", placement.policy},
                        {"model_placement", placement.models},
                        {"inflight_requests", dispatcher.inflight()}};
  json["queue"] = QueueJson(dispatcher.waiting_room());
  json["workers"] = Json::array();
  for (const Roster::Entry& entry : roster.List()) json["workers"].push_back(WorkerJson(entry));
  json["decisions"] = Json::array();
  for (const Decision& decision : dispatcher.decisions().Recent(decisions)) {
    json["decisions"].push_back(DecisionJson(decision));
  }
  return openai::Dump(json);
}

}  // namespace baton::router
