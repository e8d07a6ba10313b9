#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "services/router/placement/policy.h"
#include "services/router/placement/rules/session_affinity.h"

namespace baton::router {

struct PolicyOptions {
  CostOptions cost;
  AffinityOptions affinity;
  // Of the dice: of `random` and `power-of-two`, and of all others between workers that are as good
  // as each other; there, 0: always the first. Another one for each router.
  uint64_t seed = 0;
};

// A policy as people choose it: what it is called, and in a line what it does.
struct PolicyKind {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Policy> (*make)(std::string_view name, const PolicyOptions& options);
};

// All there are, the default first.
std::span<const PolicyKind> PolicyKinds();
std::vector<std::string_view> PolicyNames();

// By its name: INVALID_ARGUMENT lists the names there are.
absl::StatusOr<std::unique_ptr<Policy>> MakePolicy(std::string_view name,
                                                   const PolicyOptions& options);

}  // namespace baton::router
