#include "services/router/intake/intake.h"

#include <algorithm>
#include <random>

#include "common/text/utf8.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

uint64_t RandomBits() {
  static thread_local std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// SamplingParams::Validate begins its messages with the field.
absl::Status WithFirstWordAsField(const absl::Status& status) {
  if (status.ok()) return status;
  const std::string message = MessageOf(status);
  return WithField(status, message.substr(0, message.find(' ')));
}

absl::Status CheckTokenPrompt(const TokenPrompt& prompt, int32_t vocab) {
  for (size_t i = 0; i < prompt.ids.size(); ++i) {
    if (prompt.ids[i] < 0 || prompt.ids[i] >= vocab) {
      return FieldError("prompt", "prompt[{}] is token {}, but the vocabulary has ids 0 to {}", i,
                        prompt.ids[i], vocab - 1);
    }
  }
  return absl::OkStatus();
}

// Also gives roles the names that templates know.
absl::Status CheckChat(ChatPrompt& chat, size_t messages_max) {
  if (chat.messages.empty()) {
    return FieldError("messages", "messages is empty; at least one is needed");
  }
  if (chat.messages.size() > messages_max) {
    return FieldError("messages", "messages has {} entries, at most {} are allowed",
                      chat.messages.size(), messages_max);
  }
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    auto& role = chat.messages[i]["role"];
    if (role == "developer") role = "system";  // the newer name; templates know the older one
    if (role == "system" || role == "user" || role == "assistant" || role == "tool") continue;
    const std::string path = fmt::format("messages[{}].role", i);
    return FieldError(path,
                      "{} is \"{}\"; it must be one of system, developer, user, assistant, tool",
                      path, role.get<std::string>().substr(0, 64));
  }
  return absl::OkStatus();
}

std::string_view PromptField(const Prompt& prompt) {
  return std::holds_alternative<ChatPrompt>(prompt) ? "messages" : "prompt";
}

// Resolves max_tokens, or says which of prompt and output is too long, with both numbers.
absl::Status FitIntoContext(const Prompt& prompt, size_t prompt_tokens, int32_t context,
                            SamplingParams& sampling) {
  const auto room = static_cast<int64_t>(context) - static_cast<int64_t>(prompt_tokens);
  if (room < (sampling.max_tokens == 0 ? 0 : 1)) {
    return WithErrorCode(
        FieldError(PromptField(prompt),
                   "{} has {} tokens, but the model's context holds {}, output included",
                   PromptField(prompt), prompt_tokens, context),
        "context_length_exceeded");
  }
  if (sampling.max_tokens.value_or(0) > room) {
    return WithErrorCode(
        FieldError(
            "max_tokens",
            "max_tokens is {}, but with {} prompt tokens the model's context of {} tokens has "
            "room for {}",
            *sampling.max_tokens, prompt_tokens, context, room),
        "context_length_exceeded");
  }
  if (!sampling.max_tokens) sampling.max_tokens = static_cast<int32_t>(room);
  sampling.min_tokens = std::min(sampling.min_tokens, *sampling.max_tokens);
  return absl::OkStatus();
}

}  // namespace

Intake::Intake(const Options& options, const ServedModels& models, const Roster& roster,
               const Clock& clock)
    : options_(options), models_(models), roster_(roster), clock_(clock), process_(RandomBits()) {}

absl::StatusOr<AcceptedRequest> Intake::Accept(ClientRequest request) const {
  AcceptedRequest accepted;
  accepted.accepted_at = clock_.Monotonic();
  ASSIGN_OR_RETURN(accepted.model, Model(request.model));
  RETURN_IF_ERROR(CheckFields(request));
  if (auto* chat = std::get_if<ChatPrompt>(&request.prompt)) {
    RETURN_IF_ERROR(CheckChat(*chat, options_.messages_max));
  }
  const std::string& model = accepted.model->name();
  const auto facts = roster_.UnservedFor(model) <= options_.worker_wait ? roster_.LatestFacts(model)
                                                                        : roster_.Facts(model);
  const int32_t vocab = facts ? facts->vocab_size : accepted.model->tokenizer().vocab_size();
  RETURN_IF_ERROR(WithFirstWordAsField(request.sampling.Validate(vocab)));
  if (const auto* tokens = std::get_if<TokenPrompt>(&request.prompt)) {
    RETURN_IF_ERROR(CheckTokenPrompt(*tokens, vocab));
  }
  if (!facts) {
    if (options_.metrics != nullptr) options_.metrics->Of(model).WithoutWorker();
    return NoWorker(model);
  }

  ASSIGN_OR_RETURN(accepted.prompt, Encode(*accepted.model, request.prompt, true));
  accepted.tokenized_at = clock_.Monotonic();
  if (accepted.prompt.empty()) {
    return FieldError(PromptField(request.prompt), "{} has no tokens", PromptField(request.prompt));
  }
  RETURN_IF_ERROR(FitIntoContext(request.prompt, accepted.prompt.size(), facts->context_tokens_max,
                                 request.sampling));
  accepted.continues_text = !std::holds_alternative<ChatPrompt>(request.prompt);
  accepted.echo = request.echo;
  if (!request.sampling.seed) request.sampling.seed = RandomBits() >> 1;  // fits JSON's integers
  accepted.id = NewId(request.request_id);
  accepted.sampling = std::move(request.sampling);
  accepted.n = request.n;
  RETURN_IF_ERROR(CheckPromptLogprobs(accepted.prompt_logprob_values()));
  accepted.priority = request.priority;
  accepted.user = std::move(request.user);
  accepted.tenant = std::move(request.tenant);
  BeginTrace(request, accepted);
  if (request.timeout != absl::InfiniteDuration()) {
    accepted.deadline = clock_.Monotonic() + request.timeout;
  }
  return accepted;
}

void Intake::BeginTrace(ClientRequest& request, AcceptedRequest& accepted) const {
  if (options_.tracing == nullptr) {
    accepted.traceparent = std::move(request.traceparent);
    return;
  }
  accepted.trace = options_.tracing->Begin(request.traceparent, request.tracestate);
  accepted.traceparent = telemetry::Traceparent(accepted.trace->root);
}

std::string_view Intake::NameOf(std::string_view name) const {
  const auto model = models_.Find(name);
  return model.ok() ? std::string_view((*model)->name()) : std::string_view();
}

absl::StatusOr<Intake::Tokens> Intake::Tokenize(std::string_view model, Prompt prompt,
                                                bool add_special_tokens) const {
  ASSIGN_OR_RETURN(const ServedModel* served, Model(model));
  if (auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    RETURN_IF_ERROR(CheckChat(*chat, options_.messages_max));
  }
  Tokens tokens;
  ASSIGN_OR_RETURN(tokens.ids, Encode(*served, prompt, add_special_tokens));
  const auto facts = roster_.Facts(served->name());
  tokens.context_tokens_max = facts ? facts->context_tokens_max : 0;
  return tokens;
}

absl::StatusOr<std::string> Intake::Detokenize(std::string_view model,
                                               const std::vector<int32_t>& ids,
                                               bool skip_special) const {
  ASSIGN_OR_RETURN(const ServedModel* served, Model(model));
  const int32_t vocab = served->tokenizer().vocab_size();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      return FieldError("tokens", "tokens[{}] is {}, but the vocabulary has ids 0 to {}", i, ids[i],
                        vocab - 1);
    }
  }
  return served->tokenizer().Decode(ids, skip_special);
}

absl::Status Intake::NoWorker(std::string_view model) const {
  return WithRetryAfter(
      WithErrorCode(Unavailable("no decode worker serves \"{}\" right now; try again", model),
                    "no_worker"),
      options_.no_worker_retry_after);
}

absl::StatusOr<std::vector<int32_t>> Intake::Encode(const ServedModel& model, const Prompt& prompt,
                                                    bool add_special_tokens) const {
  if (const auto* tokens = std::get_if<TokenPrompt>(&prompt)) return tokens->ids;
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return EncodeChat(model, *chat);
  const std::string& text = std::get<TextPrompt>(prompt).text;
  auto ids = model.tokenizer().Encode(text, add_special_tokens);
  if (!ids.ok()) return WithField(Annotate(ids.status(), "prompt"), "prompt");
  return ids;
}

absl::StatusOr<std::vector<int32_t>> Intake::EncodeChat(const ServedModel& model,
                                                        const ChatPrompt& chat) const {
  auto chat_template = model.chat_template();
  if (!chat_template.ok()) {
    return FieldError("messages", "messages: \"{}\" serves completions only: {}", model.name(),
                      MessageOf(chat_template.status()));
  }
  const auto rendered = (*chat_template)
                            ->Render({.messages = chat.messages,
                                      .add_generation_prompt = chat.add_generation_prompt,
                                      .extra = chat.extra.empty() ? nullptr : &chat.extra,
                                      .now = clock_.Wall()});
  if (!rendered.ok()) return WithField(Annotate(rendered.status(), "messages"), "messages");
  auto ids = model.tokenizer().Encode(*rendered, /*add_special_tokens=*/false);
  if (!ids.ok()) return WithField(Annotate(ids.status(), "messages"), "messages");
  return ids;
}

absl::Status Intake::CheckFields(const ClientRequest& request) const {
  if (request.n < 1 || request.n > options_.choices_max) {
    return FieldError("n", "n must be between 1 and {}, got {}", options_.choices_max, request.n);
  }
  if (request.priority < -100 || request.priority > 100) {
    return FieldError("priority", "priority must be between -100 and 100, got {}",
                      request.priority);
  }
  if (request.user.size() > static_cast<size_t>(options_.user_bytes_max)) {
    return FieldError("user", "user has {} bytes, at most {} are allowed", request.user.size(),
                      options_.user_bytes_max);
  }
  if (request.timeout <= absl::ZeroDuration() ||
      (request.timeout > options_.timeout_max && request.timeout != absl::InfiniteDuration())) {
    return FieldError("timeout", "timeout must be above 0 and at most {} seconds",
                      absl::ToInt64Seconds(options_.timeout_max));
  }
  if (request.echo && std::holds_alternative<ChatPrompt>(request.prompt)) {
    return FieldError("echo", "echo does not go with a chat");
  }
  if (request.sampling.max_tokens == 0 && !request.echo && !request.sampling.prompt_logprobs) {
    return FieldError("max_tokens", "max_tokens must be at least 1 without echo, got 0");
  }
  for (const std::string& stop : request.sampling.stop_strings) {
    if (text::FirstInvalidUtf8(stop)) return FieldError("stop", "stop is not valid UTF-8");
  }
  return absl::OkStatus();
}

absl::Status Intake::CheckPromptLogprobs(int64_t values) const {
  if (values <= options_.prompt_logprob_values_max) return absl::OkStatus();
  return FieldError("logprobs",
                    "logprobs of the prompt (prompt_logprobs) make {} values: prompt tokens * (1 + "
                    "logprobs) * n; at most {} are allowed in one call",
                    values, options_.prompt_logprob_values_max);
}

// A client's own id is kept, with a suffix: two requests may not share one.
RequestId Intake::NewId(std::string_view chosen) const {
  const uint64_t number = next_id_.fetch_add(1, std::memory_order_relaxed);
  const std::string unique = fmt::format("{:08x}{:06x}", process_ >> 32, number);
  return RequestId(chosen.empty() ? unique : fmt::format("{}-{}", chosen, unique));
}

}  // namespace baton::router
