#pragma once

#include "common/model/json_fields.h"
#include "common/model/rope.h"

namespace baton::model {

// Reads the rotary embedding of a config.json, in the classic keys (`rope_theta` beside
// `rope_scaling`) or the newer single `rope_parameters` object. `max_positions` is the model's; it
// stands in where no original context length is written.
absl::StatusOr<RopeConfig> ParseRope(const JsonFields& config, int32_t max_positions);

}  // namespace baton::model
