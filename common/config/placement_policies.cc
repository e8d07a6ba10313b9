#include "common/config/placement_policies.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/config/suggestion.h"
#include "fmt/ranges.h"

namespace baton::config {

absl::Status CheckPlacementPolicy(std::string_view option, std::string_view name) {
  const auto& names = kPlacementPolicies;
  if (std::find(names.begin(), names.end(), name) != names.end()) return absl::OkStatus();
  return InvalidArgument("{}: there is no policy '{}'{}; there are {}", option, name,
                         DidYouMean(name, std::vector<std::string>(names.begin(), names.end())),
                         fmt::join(names, ", "));
}

}  // namespace baton::config
