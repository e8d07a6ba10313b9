#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "baton_text.h"
#include "common/text/tokenizer_config.h"
#include "nlohmann/json.hpp"

namespace baton::text {

// A model folder's chat template: a conversation as the text that the model was trained to read.
// Gives what `transformers`' apply_chat_template gives for the same template and messages.
// Immutable after Load: Render may be called from any thread at any time.
class ChatTemplate {
 public:
  // JSON objects keep the order of their keys: templates print tools as they were written.
  using Json = nlohmann::ordered_json;

  // chat_template.jinja, or "chat_template" in tokenizer_config.json. FAILED_PRECONDITION names the
  // file and the key, and for a template that does not parse, its line.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Load(std::string_view model_dir);
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> FromConfig(const TokenizerConfig& config);

  struct Input {
    const Json& messages;  // [{"role": …, "content": …}, …] as in the OpenAI API
    bool add_generation_prompt = true;
    const Json* tools = nullptr;         // array of tools; null: none
    const Json* extra = nullptr;         // object: more variables for the template; null: none
    absl::Time now = absl::UnixEpoch();  // for templates that print the date
  };
  // The template's own word on bad messages (raise_exception), or any other failure to render them:
  // INVALID_ARGUMENT. A template that needs a filter or function Baton lacks: FAILED_PRECONDITION.
  absl::StatusOr<std::string> Render(const Input& input) const;

 private:
  struct FreeHandle {
    void operator()(baton_text_template* handle) const { baton_text_template_free(handle); }
  };
  using Handle = std::unique_ptr<baton_text_template, FreeHandle>;

  ChatTemplate(Handle handle, const TokenizerConfig& config);
  Json ContextOf(const Input& input) const;

  const Handle handle_;
  const Json special_tokens_;  // {"bos_token": …, …}
  const std::string source_;   // for messages
};

}  // namespace baton::text
