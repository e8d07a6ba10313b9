#include "services/router/http/admin_api.h"

#include "common/telemetry/logging.h"
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

absl::StatusOr<PlacementCall> ParsePlacement(const Json& body) {
  // A mistyped "model" would change the policy of all.
  for (const auto& [name, value] : body.items()) {
    if (name == "policy" || name == "model") continue;
    return FieldError(name, "{} is not known here; policy and model are", name.substr(0, 64));
  }
  openai::FieldReader fields(body);
  PlacementCall call;
  fields.Read("policy", &call.policy);
  fields.Read("model", &call.model);
  RETURN_IF_ERROR(fields.status());
  if (call.policy.empty()) return FieldError("policy", "policy is missing");
  return call;
}

// Loopback says that the caller is on this machine; these say that it speaks for somebody else.
bool SpeaksForOthers(const HttpRequest& request) {
  return !request.Header("forwarded").empty() || !request.Header("x-forwarded-for").empty();
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
  if (request.from_this_machine && !SpeaksForOthers(request)) return {};
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
