#pragma once

#include <memory>
#include <string_view>

#include "services/router/placement/policy.h"

namespace baton::router {

// The policies people compare with: one rule picks the decode worker and, if there is any, the
// prefill worker; the prompt is remote whenever a prefill worker can be paired.
//   kv-aware      most of the prompt cached, then fewest sequences
//   least-queued  fewest sequences running, waiting and just placed
//   power-of-two  the less queued of two drawn at random
//   random        drawn at random
//   round-robin   in turn
// Null for a name that is none of these.
std::unique_ptr<Policy> MakeSimplePolicy(std::string_view name, const PolicyOptions& options);

}  // namespace baton::router
