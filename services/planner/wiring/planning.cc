#include "services/planner/wiring/planning.h"

#include <chrono>
#include <utility>

#include "common/telemetry/logging.h"
#include "services/planner/doors/plan_json.h"

namespace baton::planner {
namespace {

void LogChange(Pool pool, const PoolPlan& plan, int32_t& last) {
  if (plan.desired == last) return;
  telemetry::LogInfo("planner", "decided",
                     {{"pool", NameOf(pool)},
                      {"workers", plan.desired},
                      {"before", std::max(last, 0)},
                      {"reason", plan.reason()},
                      {"why", plan.text()}});
  last = plan.desired;
}

}  // namespace

PlanOptions PlanOptionsOf(const config::PlannerOptions& options) {
  PlanOptions plan;
  plan.targets = {
      .ttft = options.ttft_target, .itl = options.itl_target, .catch_up = options.catch_up};
  plan.prefill = {options.prefill_min, options.prefill_max, options.prefill_gpus};
  plan.decode = {options.decode_min, options.decode_max, options.decode_gpus};
  plan.budget_gpus = options.budget_gpus;
  plan.margin = 1 + options.margin_percent / 100.0;
  plan.cool_down_up = options.cool_down_up;
  plan.cool_down = options.cool_down;
  return plan;
}

absl::StatusOr<std::unique_ptr<Planning>> Planning::Start(const config::PlannerOptions& options,
                                                          const Clock& clock) {
  RETURN_IF_ERROR(ReadApiKey(options.api_key_file).status());
  ASSIGN_OR_RETURN(const auto credentials, rpc::Credentials::MakeWithoutRole(options.tls));
  std::unique_ptr<Planning> planning(new Planning(options, clock));
  ASSIGN_OR_RETURN(planning->pages_, http::PageServer::Listen(options.http, planning->Pages()));
  ASSIGN_OR_RETURN(planning->grpc_,
                   rpc::StartServer({.listen = options.grpc.text(), .credentials = credentials},
                                    {&planning->scaler_}));
  return planning;
}

Planning::Planning(const config::PlannerOptions& options, const Clock& clock)
    : clock_(clock),
      scraper_({.routers = options.routers,
                .model = options.model,
                .api_key_file = options.api_key_file,
                .http_tls_ca = options.http_tls_ca,
                .http_tls_name = options.http_tls_name}),
      meter_({.recent = options.recent, .steady = options.steady}),
      planner_(PlanOptionsOf(options)),
      board_({.stale_after = options.stale_after, .dry_run = options.dry_run}, clock),
      metrics_(options.dry_run),
      scaler_(board_) {}

Planning::~Planning() {
  board_.Close();
  if (grpc_.server)
    grpc_.server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

http::PageServer::Pages Planning::Pages() {
  return {{"/metrics",
           [this] {
             return http::Page{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                               .body = metrics_.Render()};
           }},
          {"/plan", [this] { return http::Page{.body = PlanJson(board_)}; }},
          {"/health/live", [] { return http::Page{.body = R"({"status":"live"})"}; }},
          {"/health/ready", [this] {
             const auto answer = board_.Answer(Pool::kDecode);
             if (answer.ok()) return http::Page{.body = R"({"status":"ready"})"};
             return http::Page{503, "text/plain", MessageOf(answer.status()) + "\n"};
           }}};
}

void Planning::Look() {
  const Scraper::Round round = scraper_.Ask();
  LogFailures(round);
  const int failed = static_cast<int>(round.failures.size());
  if (round.answers.empty()) return metrics_.NoteSilence(failed);
  const absl::Duration now = clock_.Monotonic();
  Standing standing{.picture = meter_.Look(round.answers, failed > 0, now),
                    .routers_answered = static_cast<int>(round.answers.size()),
                    .routers_failed = failed,
                    .at = now,
                    .wall = clock_.Wall()};
  standing.plan = planner_.Next(standing.picture, now);
  LogChanges(standing.plan);
  metrics_.Note(standing);
  board_.Publish(std::move(standing));
}

// Once when it begins, once when it is over.
void Planning::LogFailures(const Scraper::Round& round) {
  for (const auto& [router, why] : round.failures) {
    if (failing_.contains(router)) continue;
    telemetry::LogWarning("planner", "a router does not answer",
                          {{"router", router}, {"why", MessageOf(why)}});
  }
  for (const auto& [router, why] : failing_) {
    if (!round.answers.contains(router)) continue;
    telemetry::LogInfo("planner", "the router answers again", {{"router", router}});
  }
  failing_ = round.failures;
}

void Planning::LogChanges(const Plan& plan) {
  LogChange(Pool::kPrefill, plan.prefill, last_prefill_);
  LogChange(Pool::kDecode, plan.decode, last_decode_);
}

}  // namespace baton::planner
