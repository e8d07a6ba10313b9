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
  uint64_t seed = 1;  // of the dice of `random` and `power-of-two`
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
