#include "services/router/openai/api.h"

#include <algorithm>
#include <utility>

namespace baton::router::openai {
namespace {

// Of one token with its log-probability in a chunk, generously.
constexpr size_t kLogprobJsonBytes = 64;

int64_t PromptLogprobValues(const std::vector<AcceptedRequest>& requests) {
  int64_t values = 0;
  for (const AcceptedRequest& request : requests) values += request.prompt_logprob_values();
  return values;
}

}  // namespace

void RunningCall::Cancel() {
  std::vector<std::shared_ptr<Flight>> flights;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    flights.swap(flights_);
  }
  for (const auto& flight : flights) flight->Cancel();
}

bool RunningCall::Add(std::shared_ptr<Flight> flight) {
  {
    absl::MutexLock lock(&mutex_);
    if (!cancelled_) {
      flights_.push_back(std::move(flight));
      return true;
    }
  }
  flight->Cancel();
  return false;
}

absl::StatusOr<Json> Api::ParseBody(std::string_view body) const {
  return openai::ParseBody(body, options_.json_depth_max);
}

absl::StatusOr<ApiCall> Api::Parse(Endpoint endpoint, const Json& body) const {
  return endpoint == Endpoint::kChat ? ParseChat(body) : ParseCompletion(body);
}

absl::StatusOr<std::vector<AcceptedRequest>> Api::AcceptAll(ApiCall& call,
                                                            const Context& context) const {
  // All prompts of a call have one model and one priority.
  if (!call.requests.empty()) {
    const ClientRequest& first = call.requests.front();
    RETURN_IF_ERROR(
        dispatcher_.CheckRoom(intake_.NameOf(first.model), context.tenant, first.priority));
  }
  std::vector<AcceptedRequest> accepted;
  for (ClientRequest& request : call.requests) {
    request.request_id = context.request_id;
    request.traceparent = context.traceparent;
    request.tracestate = context.tracestate;
    request.tenant = context.tenant;
    if (request.timeout == absl::InfiniteDuration()) request.timeout = options_.request_timeout;
    ASSIGN_OR_RETURN(AcceptedRequest one, intake_.Accept(std::move(request)));
    accepted.push_back(std::move(one));
    RETURN_IF_ERROR(intake_.CheckPromptLogprobs(PromptLogprobValues(accepted)));
  }
  return accepted;
}

void Api::Run(ApiCall call, const Context& context, std::shared_ptr<Outlet> outlet,
              RunningCall& running) const {
  auto accepted = AcceptAll(call, context);
  if (!accepted.ok()) return outlet->Fail(accepted.status());
  const AcceptedRequest& first = accepted->front();
  const bool logprobs = first.sampling.logprobs.has_value();
  ResponseShape shape({.endpoint = call.endpoint,
                       .id = first.id.value(),
                       .created = absl::ToUnixSeconds(clock_.Wall()),
                       .logprobs = logprobs,
                       .return_token_ids = call.return_token_ids,
                       .include_usage = call.include_usage},
                      *first.model);
  if (call.stream) outlet->Expect(PromptLogprobValues(*accepted) * kLogprobJsonBytes);
  auto answer =
      std::make_shared<Answer>(Answer::Options{.prompts = static_cast<int32_t>(accepted->size()),
                                               .n = first.n,
                                               .stream = call.stream,
                                               .include_usage = call.include_usage},
                               std::move(shape), std::move(outlet));
  int32_t prompt_index = 0;
  for (AcceptedRequest& request : *accepted) {
    auto sink = answer->SinkFor(prompt_index++);
    if (!running.Add(dispatcher_.Start(std::move(request), std::move(sink)))) return;
  }
}

}  // namespace baton::router::openai
