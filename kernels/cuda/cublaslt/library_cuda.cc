#include <cuda_runtime_api.h>

#include "kernels/cuda/cublaslt/library.h"

namespace baton::kernels::cuda::cublaslt {

// Of the toolkit's major version: another one's would bring a runtime that the driver may not know.
const Library* Library::Load(std::string* error) {
  static const Loading loading =
      LoadLibrary({"libcublasLt.so." + std::to_string(CUDART_VERSION / 1000)});
  *error = loading.error;
  return loading.error.empty() ? &loading.library : nullptr;
}

}  // namespace baton::kernels::cuda::cublaslt
