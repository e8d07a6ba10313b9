#include "kernels/cuda.h"

// For builds with CUDA where nccl.h was not found.
namespace baton::kernels {

CudaJoining JoinCudaBackends(const std::vector<Backend*>&) {
  return {.collectives = {},
          .error =
              "this build has no NCCL (nccl.h was not found when it was configured: "
              "-DBATON_NCCL_INCLUDE_DIR names its folder)"};
}

}  // namespace baton::kernels
