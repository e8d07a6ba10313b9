#include "services/router/grpc/inference_service.h"

#include "common/rpc/status.h"
#include "services/router/grpc/metadata.h"
#include "services/router/grpc/request_convert.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

grpc::ServerUnaryReactor* Reply(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

}  // namespace

grpc::ServerWriteReactor<v1::GenerateEvent>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return GenerateCall::Begin(options_.generate, *context, *request, TenantOf(*context), intake_,
                             dispatcher_, open_);
}

absl::StatusOr<std::string> InferenceService::TenantOf(
    const grpc::CallbackServerContext& context) const {
  return keys_.TenantOf(Metadata(context, "authorization"),
                        Metadata(context, options_.tenant_metadata));
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  if (const auto tenant = TenantOf(*context); !tenant.ok()) return Reply(context, tenant.status());
  Prompt prompt = TextPrompt{request->text()};
  if (request->has_chat()) prompt = FromProto(request->chat());
  if (request->input_case() == v1::TokenizeRequest::INPUT_NOT_SET) {
    return Reply(context, InvalidArgument("input is missing: one of text, chat"));
  }
  const bool special = !request->has_add_special_tokens() || request->add_special_tokens();
  const auto tokens = intake_.Tokenize(request->model(), prompt, special);
  if (!tokens.ok()) return Reply(context, tokens.status());
  response->mutable_ids()->Add(tokens->ids.begin(), tokens->ids.end());
  response->set_context_tokens_max(tokens->context_tokens_max);
  return Reply(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  if (const auto tenant = TenantOf(*context); !tenant.ok()) return Reply(context, tenant.status());
  const auto text =
      intake_.Detokenize(request->model(), {request->ids().begin(), request->ids().end()},
                         request->skip_special_tokens());
  if (!text.ok()) return Reply(context, text.status());
  response->set_text(*text);
  return Reply(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* request,
                                                       v1::ListModelsResponse* response) {
  if (const auto tenant = TenantOf(*context); !tenant.ok()) return Reply(context, tenant.status());
  for (const ModelFacts& facts : roster_.Models()) {
    v1::ModelCard* card = response->add_models();
    card->set_id(facts.name);
    card->set_context_tokens_max(facts.context_tokens_max);
    card->set_vocab_size(facts.vocab_size);
    card->set_created(absl::ToUnixSeconds(facts.since));
  }
  return Reply(context, absl::OkStatus());
}

}  // namespace baton::router
