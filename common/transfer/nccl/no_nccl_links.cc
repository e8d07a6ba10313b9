#include "common/transfer/nccl/nccl_links.h"

// For builds without CUDA, or without nccl.h.
namespace baton::transfer {

absl::StatusOr<std::unique_ptr<PairLinks>> OpenNcclLinks(int /*cuda_device*/) {
  return FailedPrecondition(
      "transport is nccl, but this build has no CUDA with NCCL (cmake --preset cuda, where nccl.h "
      "is found, makes one that has)");
}

}  // namespace baton::transfer
