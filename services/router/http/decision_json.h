#pragma once

#include "services/router/openai/json_body.h"
#include "services/router/placement/policy.h"

namespace baton::router {

// Milliseconds, to the microsecond: what a person compares.
double Ms(double value);

// A placement with its inputs and every candidate's estimate, for the pages under /debug.
openai::Json DecisionJson(const Decision& decision);

}  // namespace baton::router
