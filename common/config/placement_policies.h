#pragma once

#include <array>
#include <string_view>

#include "common/base/status.h"

namespace baton::config {

// The names a policy can be chosen by (the router has what is behind them), the default first.
inline constexpr std::array<std::string_view, 12> kPlacementPolicies = {
    "cost",         "lowest-latency",   "kv-aware",     "fewest-computed-tokens",
    "least-queued", "least-kv",         "power-of-two", "round-robin",
    "random",       "session-affinity", "always-local", "always-remote",
};

// INVALID_ARGUMENT with the names there are; `option` is where `name` was given.
absl::Status CheckPlacementPolicy(std::string_view option, std::string_view name);

}  // namespace baton::config
