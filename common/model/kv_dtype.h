#pragma once

#include <optional>

#include "common/config/model_options.h"
#include "kernels/dtype.h"

namespace baton::model {

// What a cluster file's kv_dtype means; none: as the weights are kept.
std::optional<kernels::DType> KvDTypeOf(config::KvDtype dtype);

}  // namespace baton::model
