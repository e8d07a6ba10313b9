#include "services/router/intake/served_model.h"

#include "common/base/status.h"

namespace baton::router {

absl::StatusOr<std::unique_ptr<ServedModel>> ServedModel::Load(std::string_view name,
                                                               std::string_view model_dir) {
  ASSIGN_OR_RETURN(std::unique_ptr<text::Tokenizer> tokenizer, text::Tokenizer::Load(model_dir));
  auto chat_template = text::ChatTemplate::Load(model_dir);
  const absl::Status reason = chat_template.status();
  return std::make_unique<ServedModel>(std::string(name), std::move(tokenizer),
                                       reason.ok() ? std::move(chat_template).value() : nullptr,
                                       reason);
}

ServedModel::ServedModel(std::string name, std::unique_ptr<text::Tokenizer> tokenizer,
                         std::unique_ptr<text::ChatTemplate> chat_template,
                         absl::Status no_template_reason)
    : name_(std::move(name)),
      tokenizer_(std::move(tokenizer)),
      chat_template_(std::move(chat_template)),
      no_template_reason_(std::move(no_template_reason)) {}

absl::StatusOr<const text::ChatTemplate*> ServedModel::chat_template() const {
  if (chat_template_ == nullptr) return Annotate(no_template_reason_, "no chat template");
  return chat_template_.get();
}

}  // namespace baton::router
