#include "services/router/http/admin_api.h"

#include <algorithm>
#include <vector>

#include "common/telemetry/logging.h"
#include "fmt/ranges.h"
#include "services/router/http/http_head.h"
#include "services/router/http/sse_outlet.h"
#include "services/router/intake/field_error.h"
#include "services/router/openai/field_reader.h"
#include "services/router/openai/json_body.h"

namespace baton::router {
namespace {

using config::AdminAccess;
using openai::Json;

constexpr std::string_view kDefault = "default";  // a model's policy: what all others have

struct PlacementCall {
  std::string policy;
  std::string model;  // empty: for all
};

// A mistyped name would change more than was meant.
absl::Status KnowsOnly(const Json& body, const std::vector<std::string_view>& names) {
  for (const auto& [name, value] : body.items()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return FieldError(name, "{} is not known here; known: {}", name.substr(0, 64),
                      fmt::join(names, ", "));
  }
  return absl::OkStatus();
}

absl::StatusOr<PlacementCall> ParsePlacement(const Json& body) {
  RETURN_IF_ERROR(KnowsOnly(body, {"policy", "model"}));
  openai::FieldReader fields(body);
  PlacementCall call;
  fields.Read("policy", &call.policy);
  fields.Read("model", &call.model);
  RETURN_IF_ERROR(fields.status());
  if (call.policy.empty()) return FieldError("policy", "policy is missing");
  return call;
}

}  // namespace

HttpAnswer AdminApi::Placement(const HttpRequest& request) {
  const Refusal refusal = Refuse(request);
  if (refusal.status != 0) return ErrorAnswer(refusal.status, refusal.message, refusal.code);
  if (request.method == "PUT") {
    if (const absl::Status status = SetPlacement(request); !status.ok()) return AnswerOf(status);
  }
  return {.body = PlacementJson()};
}

AdminApi::Refusal AdminApi::Refuse(const HttpRequest& request) const {
  if (access_ == AdminAccess::kOff) return {404, "the admin API is off", "not_found"};
  const std::string_view origin = request.Header("origin");
  if (!origin.empty() && AllowedOrigin(origin).empty()) {
    return {403, "pages of other hosts may not use the admin API", "origin"};
  }
  if (access_ == AdminAccess::kAny) return {};
  if (request.local()) return {};
  return {403, "the admin API answers callers on the router's machine only (--admin any: all)",
          "forbidden"};
}

absl::Status AdminApi::SetPlacement(const HttpRequest& request) {
  ASSIGN_OR_RETURN(const Json body, api_.ParseBody(request.body));
  ASSIGN_OR_RETURN(const PlacementCall call, ParsePlacement(body));
  absl::StatusOr<std::string> before;
  if (call.model.empty()) {
    before = policies_.Set(call.policy);
  } else {
    RETURN_IF_ERROR(api_.intake().Model(call.model).status());
    before = call.policy == kDefault ? policies_.Clear(call.model)
                                     : policies_.SetFor(call.model, call.policy);
  }
  if (!before.ok()) return WithField(before.status(), "policy");
  telemetry::LogInfo("placement", "policy changed",
                     {{"model", call.model.empty() ? "all without their own" : call.model},
                      {"from", *before},
                      {"to", call.policy},
                      {"request", request.request_id}});
  return absl::OkStatus();
}

HttpAnswer AdminApi::Drain(const HttpRequest& request) {
  const Refusal refusal = Refuse(request);
  if (refusal.status != 0) return ErrorAnswer(refusal.status, refusal.message, refusal.code);
  const absl::StatusOr<WorkerId> worker = AskToDrain(request);
  if (!worker.ok()) return AnswerOf(worker.status());
  return {.status = 202,
          .body = openai::Dump(Json{{"worker", worker->value()}, {"state", "draining"}})};
}

absl::StatusOr<WorkerId> AdminApi::AskToDrain(const HttpRequest& request) {
  ASSIGN_OR_RETURN(const Json body, api_.ParseBody(request.body));
  RETURN_IF_ERROR(KnowsOnly(body, {"worker"}));
  openai::FieldReader fields(body);
  std::string name;
  fields.Read("worker", &name);
  RETURN_IF_ERROR(fields.status());
  if (name.empty()) return FieldError("worker", "worker is missing");
  absl::StatusOr<WorkerId> worker = roster_.Named(name);
  if (!worker.ok()) return WithField(worker.status(), "worker");
  RETURN_IF_ERROR(workers_.AskToDrain(*worker));
  telemetry::LogInfo("membership", "worker asked to drain",
                     {{"worker", worker->value()}, {"request", request.request_id}});
  return worker;
}

std::string AdminApi::PlacementJson() const {
  const PolicyTable::Setting setting = policies_.setting();
  Json policies = Json::array();
  for (const PolicyKind& kind : PolicyKinds()) {
    policies.push_back({{"name", kind.name}, {"summary", kind.summary}});
  }
  return openai::Dump(Json{
      {"policy", setting.policy}, {"models", setting.models}, {"policies", std::move(policies)}});
}

}  // namespace baton::router
