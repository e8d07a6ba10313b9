#include "baton/client.h"

#include <grpcpp/grpcpp.h>

#include <thread>
#include <type_traits>

#include "baton/v1/inference.grpc.pb.h"
#include "generation_call.h"
#include "retry.h"

namespace baton::sdk {
namespace {

constexpr int kMessageBytesMax = 64 << 20;

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const ClientOptions& options) {
  if (!options.tls_roots) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = *options.tls_roots;
  return grpc::SslCredentials(tls);
}

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // retries are ours: only of what had not begun
  if (options.tls_roots && !options.tls_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls_name);
  }
  return grpc::CreateCustomChannel(address, CredentialsOf(options), arguments);
}

void ToWire(const Chat& chat, v1::Chat& wire) {
  for (const ChatMessage& message : chat) {
    v1::ChatMessage* to = wire.add_messages();
    to->set_role(message.role);
    to->set_content(message.content);
  }
}

v1::GenerateRequest ToWire(const Request& request) {
  v1::GenerateRequest wire;
  wire.set_model(request.model);
  if (const auto* text = std::get_if<std::string>(&request.prompt)) {
    wire.set_text(*text);
  } else if (const auto* chat = std::get_if<Chat>(&request.prompt)) {
    ToWire(*chat, *wire.mutable_chat());
  } else {
    const TokenIds& ids = std::get<TokenIds>(request.prompt);
    wire.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  }
  *wire.mutable_sampling() = request.sampling;
  wire.set_n(request.n);
  wire.set_echo(request.echo);
  wire.set_priority(request.priority);
  wire.set_user(request.user);
  wire.set_return_token_ids(request.return_token_ids);
  return wire;
}

}  // namespace

struct Client::Impl {
  Impl(const std::string& address, ClientOptions given)
      : options(std::move(given)), stub(v1::Inference::NewStub(Dial(address, options))) {}

  // A unary call with retries.
  template <typename Wire, typename Reply>
  Error Call(grpc::Status (v1::Inference::Stub::*method)(grpc::ClientContext*, const Wire&, Reply*),
             const Wire& request, Reply& reply) {
    Retry retry(options, options.call_timeout);
    for (;;) {
      grpc::ClientContext context;
      AddKey(options.api_key, context);
      if (retry.has_deadline()) context.set_deadline(retry.deadline());
      const grpc::Status status = (stub.get()->*method)(&context, request, &reply);
      if (status.ok()) return {};
      const Error error = ErrorOf(status, context);
      std::chrono::milliseconds pause{0};
      if (!retry.Again(error, pause)) return error;
      std::this_thread::sleep_for(pause);
    }
  }

  Result<TokenIds> Tokenize(const v1::TokenizeRequest& request) {
    v1::TokenizeResponse reply;
    if (Error error = Call(&v1::Inference::Stub::Tokenize, request, reply)) return error;
    return TokenIds(reply.ids().begin(), reply.ids().end());
  }

  const ClientOptions options;
  const std::unique_ptr<v1::Inference::Stub> stub;
};

Client::Client(const std::string& address, ClientOptions options)
    : impl_(std::make_unique<Impl>(address, std::move(options))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Generation Client::Generate(const Request& request) {
  return Generation(std::make_unique<Generation::Call>(*impl_->stub, impl_->options,
                                                       ToWire(request), request.timeout));
}

Result<Answer> Client::Complete(const Request& request,
                                const std::function<void(std::string_view)>& on_text) {
  Answer answer;
  answer.texts.resize(std::max(1, request.n));
  answer.finish.resize(answer.texts.size());
  Generation generation = Generate(request);
  Event event;
  while (generation.Next(event)) {
    const size_t choice = static_cast<size_t>(event.index);
    if (choice >= answer.texts.size()) continue;
    switch (event.kind) {
      case Event::Kind::kStarted:
        answer.started = std::move(event.started);
        break;
      case Event::Kind::kText:
        answer.texts[choice] += event.text;
        if (choice == 0) {
          std::move(event.prompt.begin(), event.prompt.end(), std::back_inserter(answer.prompt));
        }
        if (on_text && choice == 0) on_text(event.text);
        break;
      case Event::Kind::kFinished:
        answer.finish[choice] = event.finish;
        if (event.finish == v1::FINISH_REASON_ERROR) {
          return Error{ErrorCode::kInternal, event.message, {}};
        }
        break;
      case Event::Kind::kUsage:
        answer.usage = event.usage;
        break;
    }
  }
  if (generation.error()) return generation.error();
  return answer;
}

Result<TokenIds> Client::Tokenize(const std::string& text, const std::string& model,
                                  bool add_special_tokens) {
  v1::TokenizeRequest request;
  request.set_model(model);
  request.set_text(text);
  request.set_add_special_tokens(add_special_tokens);
  return impl_->Tokenize(request);
}

Result<TokenIds> Client::Tokenize(const Chat& chat, const std::string& model) {
  v1::TokenizeRequest request;
  request.set_model(model);
  ToWire(chat, *request.mutable_chat());
  return impl_->Tokenize(request);
}

Result<std::string> Client::Detokenize(const TokenIds& ids, const std::string& model,
                                       bool skip_special_tokens) {
  v1::DetokenizeRequest request;
  request.set_model(model);
  request.mutable_ids()->Add(ids.begin(), ids.end());
  request.set_skip_special_tokens(skip_special_tokens);
  v1::DetokenizeResponse reply;
  if (Error error = impl_->Call(&v1::Inference::Stub::Detokenize, request, reply)) return error;
  return std::move(*reply.mutable_text());
}

Result<std::vector<v1::ModelCard>> Client::ListModels() {
  v1::ListModelsResponse reply;
  if (Error error = impl_->Call(&v1::Inference::Stub::ListModels, v1::ListModelsRequest(), reply)) {
    return error;
  }
  return std::vector<v1::ModelCard>(reply.models().begin(), reply.models().end());
}

}  // namespace baton::sdk
