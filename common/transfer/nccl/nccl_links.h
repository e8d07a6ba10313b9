#pragma once

#include <memory>

#include "common/base/status.h"
#include "common/transfer/nccl/pair_link.h"

namespace baton::transfer {

// NCCL on one GPU, from the library that is there when a worker starts. FAILED_PRECONDITION says
// what is missing: CUDA or NCCL in this build, the library, the GPU.
absl::StatusOr<std::unique_ptr<PairLinks>> OpenNcclLinks(int cuda_device);

}  // namespace baton::transfer
