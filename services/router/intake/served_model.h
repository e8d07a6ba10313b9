#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"

namespace baton::router {

// A model as the router needs it: its name and how its text becomes tokens and back. Weights are
// the workers' business. Immutable; any thread.
class ServedModel {
 public:
  // `model_dir` is a Hugging Face folder. A folder without a chat template serves completions only.
  static absl::StatusOr<std::unique_ptr<ServedModel>> Load(std::string_view name,
                                                           std::string_view model_dir);
  ServedModel(std::string name, std::unique_ptr<text::Tokenizer> tokenizer,
              std::unique_ptr<text::ChatTemplate> chat_template, absl::Status no_template_reason);

  const std::string& name() const { return name_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  // FAILED_PRECONDITION says why the folder has none.
  absl::StatusOr<const text::ChatTemplate*> chat_template() const;

 private:
  const std::string name_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const std::unique_ptr<text::ChatTemplate> chat_template_;  // null: none
  const absl::Status no_template_reason_;
};

}  // namespace baton::router
