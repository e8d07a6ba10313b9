#include "services/router/http/routes.h"

#include <algorithm>
#include <set>
#include <utility>

#include "fmt/ranges.h"
#include "services/router/http/debug_page.h"
#include "services/router/http/http_head.h"
#include "services/router/http/request_page.h"
#include "services/router/http/sse_outlet.h"
#include "services/router/http/ws_calls.h"
#include "services/router/intake/field_error.h"
#include "services/router/openai/error_shape.h"
#include "services/router/openai/json_body.h"

namespace baton::router {
namespace {

using openai::Dump;
using openai::Endpoint;
using openai::Json;

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kRequestPrefix = "/debug/requests/";

Json ModelJson(const ModelFacts& facts) {
  return Json{{"id", facts.name},
              {"object", "model"},
              {"created", absl::ToUnixSeconds(facts.since)},
              {"owned_by", "baton"},
              {"max_model_len", facts.context_tokens_max}};
}

openai::Api::Context ContextOf(const HttpRequest& request, std::string tenant) {
  return {.request_id = request.request_id,
          .traceparent = std::string(request.Header("traceparent")),
          .tracestate = std::string(request.Header("tracestate")),
          .tenant = std::move(tenant)};
}

}  // namespace

Routes::Routes(const Options& options, const ApiKeys& keys, const openai::Api& api,
               const Roster& roster, const Dispatcher& dispatcher, AdminApi& admin,
               RouterMetrics& metrics, Spawn spawn)
    : options_(options),
      keys_(keys),
      api_(api),
      roster_(roster),
      dispatcher_(dispatcher),
      admin_(admin),
      metrics_(metrics),
      spawn_(std::move(spawn)) {}

const std::vector<Routes::Route>& Routes::Table() {
  static const std::vector<Route> table = {
      {"POST", "/v1/chat/completions", &Routes::Chat, Door::kKey, true},
      {"POST", "/v1/completions", &Routes::Completion, Door::kKey, true},
      {"GET", "/v1/models", &Routes::Models, Door::kKey, false},
      {"GET", "/v1/models/{id}", &Routes::OneModel, Door::kKey, false},
      {"POST", "/tokenize", &Routes::Tokenize, Door::kKey, true},
      {"POST", "/detokenize", &Routes::Detokenize, Door::kKey, true},
      {"GET", "/health/live", &Routes::Live, Door::kOpen, false},
      {"GET", "/health/ready", &Routes::Ready, Door::kOpen, false},
      {"GET", "/metrics", &Routes::Metrics, Door::kOpen, false},
      {"GET", "/debug/cluster", &Routes::DebugCluster, Door::kKeyOrLocal, false},
      {"GET", "/admin/placement", &Routes::AdminPlacement, Door::kKeyOrLocal, false},
      {"PUT", "/admin/placement", &Routes::AdminPlacement, Door::kKeyOrLocal, true},
      {"POST", "/admin/drain", &Routes::AdminDrain, Door::kKeyOrLocal, true},
      {"GET", "/debug/requests", &Routes::DebugRequests, Door::kKeyOrLocal, false},
      {"GET", "/debug/requests/{id}", &Routes::DebugRequest, Door::kKeyOrLocal, false},
  };
  return table;
}

namespace {

constexpr std::string_view kId = "{id}";
// With so few requests in flight the time of one counts; with more, that all cores have work.
constexpr int kFewInFlight = 8;

bool Matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with(kId)) return pattern == path;
  pattern.remove_suffix(kId.size());
  return path.size() > pattern.size() && path.starts_with(pattern);
}

}  // namespace

void Routes::OnRequest(HttpRequest request, std::shared_ptr<ResponseWriter> writer) {
  if (request.path.size() > 1 && request.path.back() == '/') request.path.pop_back();
  if (!TryRoute(request, writer)) NoSuchRoute(request, *writer);
}

absl::StatusOr<std::string> Routes::TenantOf(const HttpRequest& request, Door door) const {
  const std::string_view claimed = request.Header(options_.tenant_header);
  if (door == Door::kOpen || (door == Door::kKeyOrLocal && request.local())) {
    return std::string(claimed);
  }
  return keys_.TenantOf(request.Header("authorization"), claimed);
}

bool Routes::TryRoute(HttpRequest& request, std::shared_ptr<ResponseWriter>& writer) {
  std::string_view method = request.method;
  if (method == "HEAD") method = "GET";
  for (const Route& route : Table()) {
    if (route.method != method || !Matches(route.path, request.path)) continue;
    writer->set_route(route.path);
    auto tenant = TenantOf(request, route.door);
    if (!tenant.ok()) {
      writer->Send(AnswerOf(tenant.status()));
      return true;
    }
    request.tenant = *std::move(tenant);
    if (!route.on_text || IsQuick(request)) {
      (this->*route.action)(request, std::move(writer));
      return true;
    }
    auto task = [this, action = route.action, request = std::move(request), writer]() mutable {
      (this->*action)(request, std::move(writer));
    };
    if (!spawn_(std::move(task))) {
      writer->Send(
          AnswerOf(ResourceExhausted("too many requests wait to be tokenized; try again")));
    }
    return true;
  }
  return false;
}

bool Routes::IsQuick(const HttpRequest& request) const {
  return request.body.size() <= api_.intake().quick_bytes() &&
         dispatcher_.inflight() < kFewInFlight;
}

void Routes::NoSuchRoute(const HttpRequest& request, ResponseWriter& writer) {
  std::set<std::string_view> methods;
  for (const Route& route : Table()) {
    if (Matches(route.path, request.path)) methods.insert(route.method);
  }
  if (methods.empty()) {
    return writer.Send(
        ErrorAnswer(404, fmt::format("there is no {}", request.path.substr(0, 256)), "not_found"));
  }
  const std::string allowed = fmt::format("{}, OPTIONS", fmt::join(methods, ", "));
  if (request.method == "OPTIONS") {
    return writer.Send(
        {.status = 204,
         .content_type = "",
         .headers = {{"Allow", allowed},
                     {"Access-Control-Allow-Methods", allowed},
                     {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id"},
                     {"Access-Control-Max-Age", "600"}}});
  }
  HttpAnswer answer = ErrorAnswer(
      405, fmt::format("{} is not allowed for {}; {} is", request.method, request.path, allowed),
      "method_not_allowed");
  answer.headers.emplace_back("Allow", allowed);
  writer.Send(std::move(answer));
}

void Routes::OnAnswered(std::string_view route, int status) {
  metrics_.HttpAnswered(route.empty() ? "other" : route, status);
}

absl::StatusOr<std::shared_ptr<WebSocketListener>> Routes::OnWebSocket(
    const HttpRequest& request, std::weak_ptr<WebSocket> socket) {
  if (request.path != "/v1/ws") {
    return WithErrorCode(NotFound("there is no WebSocket at this path; /v1/ws is one"),
                         "not_found");
  }
  ASSIGN_OR_RETURN(std::string tenant, TenantOf(request, Door::kKey));
  return std::make_shared<WsCalls>(api_, spawn_, std::move(socket),
                                   ContextOf(request, std::move(tenant)));
}

// ---- generation
// ----------------------------------------------------------------------------------

void Routes::Chat(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  Generate(Endpoint::kChat, request, std::move(writer));
}

void Routes::Completion(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  Generate(Endpoint::kCompletion, request, std::move(writer));
}

void Routes::Generate(Endpoint endpoint, const HttpRequest& request,
                      std::shared_ptr<ResponseWriter> writer) {
  auto body = api_.ParseBody(request.body);
  if (!body.ok()) return writer->Send(AnswerOf(body.status()));
  auto call = api_.Parse(endpoint, *body);
  if (!call.ok()) return writer->Send(AnswerOf(call.status()));
  std::shared_ptr<openai::Outlet> outlet;
  if (call->stream) {
    outlet = StreamTo(writer);
  } else {
    outlet = std::make_shared<JsonOutlet>(writer);
  }
  auto running = std::make_shared<openai::RunningCall>();
  writer->OnGone([running] { running->Cancel(); });
  api_.Run(*std::move(call), ContextOf(request, request.tenant), std::move(outlet), *running);
}

std::shared_ptr<openai::Outlet> Routes::StreamTo(const std::shared_ptr<ResponseWriter>& writer) {
  auto outlet = std::make_shared<SseOutlet>(writer);
  if (options_.stream_keepalive > absl::ZeroDuration()) {
    // Not kept alive by the connection, which would keep itself alive by it.
    writer->OnIdle(options_.stream_keepalive, [weak = std::weak_ptr<SseOutlet>(outlet)] {
      if (const auto stream = weak.lock()) stream->KeepAlive();
    });
  }
  return outlet;
}

// ---- the rest
// ------------------------------------------------------------------------------------

void Routes::Models(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  Json list = Json::array();
  for (const ModelFacts& facts : roster_.Models()) list.push_back(ModelJson(facts));
  writer->Send({.body = Dump(Json{{"object", "list"}, {"data", std::move(list)}})});
}

void Routes::OneModel(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  const std::string id = request.path.substr(kModelPrefix.size());
  if (const auto facts = roster_.Facts(id)) return writer->Send({.body = Dump(ModelJson(*facts))});
  writer->Send(AnswerOf(WithErrorCode(
      WithField(NotFound("model \"{}\" is not served here now", id.substr(0, 256)), "model"),
      "model_not_found")));
}

void Routes::Tokenize(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  const auto tokens = [&]() -> absl::StatusOr<Intake::Tokens> {
    ASSIGN_OR_RETURN(const Json body, api_.ParseBody(request.body));
    ASSIGN_OR_RETURN(const openai::TokenizeCall call, openai::ParseTokenize(body));
    return api_.intake().Tokenize(call.model, call.prompt, call.add_special_tokens);
  }();
  if (!tokens.ok()) return writer->Send(AnswerOf(tokens.status()));
  writer->Send({.body = Dump(Json{{"count", tokens->ids.size()},
                                  {"max_model_len", tokens->context_tokens_max},
                                  {"tokens", tokens->ids}})});
}

void Routes::Detokenize(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  const auto text = [&]() -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(const Json body, api_.ParseBody(request.body));
    ASSIGN_OR_RETURN(const openai::DetokenizeCall call, openai::ParseDetokenize(body));
    return api_.intake().Detokenize(call.model, call.tokens, call.skip_special_tokens);
  }();
  if (!text.ok()) return writer->Send(AnswerOf(text.status()));
  writer->Send({.body = Dump(Json{{"prompt", *text}})});
}

void Routes::Live(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  writer->Send({.body = R"({"status":"live"})"});
}

void Routes::Ready(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  if (draining_) {
    return writer->Send(AnswerOf(absl::UnavailableError("the router is shutting down")));
  }
  if (!dispatcher_.ready()) {
    return writer->Send(AnswerOf(absl::UnavailableError("no decode worker is ready")));
  }
  writer->Send({.body = R"({"status":"ready"})"});
}

void Routes::Metrics(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  writer->Send(
      {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.Render()});
}

void Routes::AdminPlacement(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  writer->Send(admin_.Placement(request));
}

void Routes::AdminDrain(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  writer->Send(admin_.Drain(request));
}

void Routes::DebugCluster(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  // A planner asks often, and not for decisions.
  const size_t decisions = request.query == "decisions=0" ? 0 : kDecisionsShown;
  writer->Send({.body = DebugClusterJson(roster_, dispatcher_, decisions)});
}

void Routes::DebugRequests(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  writer->Send({.body = DebugRequestsJson(dispatcher_)});
}

void Routes::DebugRequest(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer) {
  std::string_view id = std::string_view(request.path).substr(kRequestPrefix.size());
  // As the answer's "id" has it.
  for (const std::string_view prefix : {"chatcmpl-", "cmpl-"}) {
    if (id.starts_with(prefix)) id.remove_prefix(prefix.size());
  }
  if (const auto report = dispatcher_.ReportOn(id)) {
    return writer->Send({.body = DebugRequestJson(*report)});
  }
  writer->Send(ErrorAnswer(
      404,
      fmt::format("no request \"{}\" is in flight or among the last that ended (decisions_kept)",
                  id.substr(0, 256)),
      "not_found"));
}

}  // namespace baton::router
