#include <dlfcn.h>

#include "kernels/cuda/cublaslt/library.h"

namespace baton::kernels::cuda::cublaslt {
namespace {

// 130100 is 13.1.0.
std::string VersionText(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

// Looks functions up and remembers the first that is missing.
class Finder {
 public:
  Finder(void* handle, const std::string& file) : handle_(handle), file_(file) {}

  template <typename Function>
  void Find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (*function == nullptr && error.empty()) {
      error = file_ + " has no " + name + ": it is too old";
    }
  }
  std::string error;

 private:
  void* handle_;
  const std::string file_;
};

std::string FindAll(void* handle, const std::string& file, Functions* call) {
  Finder finder(handle, file);
  finder.Find("cublasLtCreate", &call->create);
  finder.Find("cublasLtDestroy", &call->destroy);
  finder.Find("cublasLtGetVersion", &call->get_version);
  finder.Find("cublasLtMatrixLayoutCreate", &call->layout_create);
  finder.Find("cublasLtMatrixLayoutDestroy", &call->layout_destroy);
  finder.Find("cublasLtMatrixLayoutSetAttribute", &call->layout_set);
  finder.Find("cublasLtMatmulDescCreate", &call->product_create);
  finder.Find("cublasLtMatmulDescDestroy", &call->product_destroy);
  finder.Find("cublasLtMatmulDescSetAttribute", &call->product_set);
  finder.Find("cublasLtMatmulPreferenceCreate", &call->preference_create);
  finder.Find("cublasLtMatmulPreferenceDestroy", &call->preference_destroy);
  finder.Find("cublasLtMatmulPreferenceSetAttribute", &call->preference_set);
  finder.Find("cublasLtMatmulAlgoGetHeuristic", &call->heuristic);
  finder.Find("cublasLtMatmulAlgoCheck", &call->check);
  finder.Find("cublasLtMatmul", &call->multiply);
  return finder.error;
}

}  // namespace

Loading LoadLibrary(const std::vector<std::string>& names) {
  Loading loading;
  for (const std::string& name : names) {
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      if (loading.error.empty()) loading.error = std::string("cuBLASLt is not there: ") + dlerror();
      continue;
    }
    loading.error = FindAll(handle, name, &loading.library.call);
    if (loading.error.empty()) {
      loading.library.version = VersionText(loading.library.call.get_version());
    } else {
      dlclose(handle);
    }
    break;
  }
  return loading;
}

std::string TextOf(Status status) {
  const auto text = [](Status of) -> const char* {
    switch (of) {
      case Status::kSuccess:
        return "SUCCESS";
      case Status::kNotInitialized:
        return "NOT_INITIALIZED";
      case Status::kAllocationFailed:
        return "ALLOC_FAILED";
      case Status::kInvalidValue:
        return "INVALID_VALUE";
      case Status::kArchMismatch:
        return "ARCH_MISMATCH";
      case Status::kMappingError:
        return "MAPPING_ERROR";
      case Status::kExecutionFailed:
        return "EXECUTION_FAILED";
      case Status::kInternalError:
        return "INTERNAL_ERROR";
      case Status::kNotSupported:
        return "NOT_SUPPORTED";
      case Status::kLicenseError:
        return "LICENSE_ERROR";
    }
    return "unknown";
  };
  return std::string("CUBLAS_STATUS_") + text(status) + " (" + std::to_string(int(status)) + ")";
}

}  // namespace baton::kernels::cuda::cublaslt
