#include "services/router/grpc/request_convert.h"

#include "common/rpc/convert.h"
#include "services/router/intake/served_model.h"

namespace baton::router {
namespace {

Prompt PromptOf(const v1::GenerateRequest& request) {
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kTokenIds:
      return TokenPrompt{{request.token_ids().ids().begin(), request.token_ids().ids().end()}};
    case v1::GenerateRequest::kChat:
      return FromProto(request.chat());
    case v1::GenerateRequest::kText:
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  return TextPrompt{request.text()};
}

void Fill(const Piece& piece, bool with_tokens, v1::Delta& delta) {
  delta.set_index(piece.choice);
  delta.set_text(piece.text);
  for (const ShownToken& token : piece.prompt) *delta.add_prompt() = rpc::ToProto(token);
  if (!with_tokens) return;
  for (const ShownToken& token : piece.tokens) *delta.add_tokens() = rpc::ToProto(token);
}

}  // namespace

ChatPrompt FromProto(const v1::Chat& chat) {
  ChatPrompt prompt;
  prompt.add_generation_prompt = !chat.has_add_generation_prompt() || chat.add_generation_prompt();
  for (const v1::ChatMessage& message : chat.messages()) {
    prompt.messages.push_back({{"role", message.role()}, {"content", message.content()}});
  }
  return prompt;
}

ClientRequest FromProto(const v1::GenerateRequest& request) {
  return {.model = request.model(),
          .prompt = PromptOf(request),
          .sampling = rpc::FromProto(request.sampling()),
          .n = request.n() == 0 ? 1 : request.n(),
          .echo = request.echo(),
          .priority = request.priority(),
          .user = request.user()};
}

v1::GenerateEvent ToProto(const Event& event, const AcceptedRequest& request, bool with_tokens) {
  v1::GenerateEvent proto;
  if (const auto* started = std::get_if<Started>(&event)) {
    v1::Started* out = proto.mutable_started();
    out->set_request_id(started->request.value());
    out->set_model(request.model->name());
    out->set_prompt_tokens(started->prompt_tokens);
    out->set_seed(started->seed);
    out->set_decode_worker(started->decode.value());
    out->set_prefill_worker(started->prefill.value());
  } else if (const auto* piece = std::get_if<Piece>(&event)) {
    Fill(*piece, with_tokens, *proto.mutable_delta());
  } else if (const auto* end = std::get_if<ChoiceEnd>(&event)) {
    proto.mutable_finished()->set_index(end->choice);
    proto.mutable_finished()->set_reason(rpc::ToProto(end->reason));
    proto.mutable_finished()->set_stop(end->stop);
  } else if (const auto* completed = std::get_if<Completed>(&event)) {
    v1::Usage* out = proto.mutable_usage();
    out->set_prompt_tokens(completed->prompt_tokens);
    out->set_cached_tokens(completed->cached_tokens);
    out->set_completion_tokens(completed->completion_tokens);
    out->set_ttft_ms(absl::ToDoubleMilliseconds(completed->ttft));
    out->set_total_ms(absl::ToDoubleMilliseconds(completed->total));
  }
  return proto;
}

}  // namespace baton::router
