// A template, a line "---", and messages as JSON: anything may be refused, nothing may crash or
// hang, and what comes out is UTF-8.

#include "common/base/check.h"
#include "common/text/chat_template.h"
#include "common/text/utf8.h"

namespace {

constexpr std::string_view kSeparator = "\n---\n";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::text;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find(kSeparator);
  if (cut == std::string_view::npos) return 0;
  TokenizerConfig config{.bos_token = "<s>", .eos_token = "</s>"};
  config.chat_template = input.substr(0, cut);
  const auto chat = ChatTemplate::FromConfig(config);
  const auto messages = ChatTemplate::Json::parse(input.substr(cut + kSeparator.size()), nullptr,
                                                  /*allow_exceptions=*/false);
  if (!chat.ok() || messages.is_discarded()) return 0;
  const auto text = (*chat)->Render({.messages = messages, .tools = &messages, .extra = nullptr});
  CHECK(!absl::IsInternal(text.status()), "{}", std::string(text.status().ToString()));
  if (text.ok()) CHECK(!FirstInvalidUtf8(*text));
  return 0;
}
