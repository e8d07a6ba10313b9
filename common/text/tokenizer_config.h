#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton::text {

// What Baton reads from a model folder's tokenizer_config.json and chat_template.jinja. A plain
// value. A folder with neither file is fine: everything is absent then.
struct TokenizerConfig {
  std::string bos_token;  // its text in the vocabulary; empty: none
  std::string eos_token;
  std::string unk_token;
  std::string pad_token;
  std::optional<std::string> chat_template;  // of several, the one called "default"
  std::string chat_template_source;          // where it was found, or looked for: for messages

  // FAILED_PRECONDITION names the file and the key.
  static absl::StatusOr<TokenizerConfig> Load(std::string_view model_dir);
};

// The whole file. NOT_FOUND or FAILED_PRECONDITION with its path.
absl::StatusOr<std::string> ReadModelFile(std::string_view model_dir, std::string_view name);

}  // namespace baton::text
