#include "services/router/intake/served_models.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "services/router/intake/field_error.h"

namespace baton::router {

absl::StatusOr<ServedModels> ServedModels::Make(std::vector<std::unique_ptr<ServedModel>> models) {
  CHECK(!models.empty(), "a router needs a model");
  ServedModels all;
  for (std::unique_ptr<ServedModel>& model : models) {
    const std::string name = model->name();
    if (!all.by_name_.emplace(name, std::move(model)).second) {
      return InvalidArgument("router.models: two models are called \"{}\"", name);
    }
  }
  return all;
}

absl::StatusOr<const ServedModel*> ServedModels::Find(std::string_view name) const {
  if (name.empty() && by_name_.size() == 1) return by_name_.begin()->second.get();
  if (name.empty()) return FieldError("model", "model is missing: one of {}", Known());
  const auto found = by_name_.find(name);
  if (found != by_name_.end()) return found->second.get();
  return WithErrorCode(WithField(NotFound("model \"{}\" is not served here; {} {}", name, Known(),
                                          by_name_.size() == 1 ? "is" : "are"),
                                 "model"),
                       "model_not_found");
}

std::vector<std::string> ServedModels::names() const {
  std::vector<std::string> names;
  for (const auto& [name, model] : by_name_) names.push_back(name);
  return names;
}

bool ServedModels::all_fast() const {
  return std::all_of(by_name_.begin(), by_name_.end(),
                     [](const auto& entry) { return entry.second->tokenizer().is_fast(); });
}

std::string ServedModels::Known() const {
  return absl::StrJoin(by_name_, ", ", [](std::string* out, const auto& entry) {
    out->append("\"").append(entry.first).append("\"");
  });
}

}  // namespace baton::router
