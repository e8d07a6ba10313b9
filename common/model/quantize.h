#pragma once

#include <optional>
#include <string_view>

#include "common/base/status.h"
#include "common/config/model_options.h"
#include "kernels/dtype.h"

namespace baton::model {

// What a cluster file's `quantize` means; none: weights stay in `dtype`.
std::optional<kernels::DType> QuantizeOf(config::Quantize quantize);
// "none", "int8", "int4-g32", "int4-g64", "int4-g128": the values of --quantize.
absl::StatusOr<std::optional<kernels::DType>> ParseQuantize(std::string_view text);

}  // namespace baton::model
