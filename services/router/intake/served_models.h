#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/router/intake/served_model.h"

namespace baton::router {

// Every model that a router serves, by name. Immutable; any thread.
class ServedModels {
 public:
  // INVALID_ARGUMENT: two of one name. Requires at least one.
  static absl::StatusOr<ServedModels> Make(std::vector<std::unique_ptr<ServedModel>> models);

  // Empty: the only one there is. NOT_FOUND, or INVALID_ARGUMENT when it has to be named; both say
  // which there are. They live as long as this, wherever it is moved.
  absl::StatusOr<const ServedModel*> Find(std::string_view name) const;
  bool Has(std::string_view name) const { return by_name_.contains(name); }
  std::vector<std::string> names() const;  // sorted
  // All of them make tokens fast (Tokenizer::is_fast).
  bool all_fast() const;

 private:
  std::string Known() const;

  std::map<std::string, std::unique_ptr<ServedModel>, std::less<>> by_name_;
};

}  // namespace baton::router
