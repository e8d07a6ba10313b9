#include "kernels/cuda/collective/nccl_library.h"

#include <dlfcn.h>

namespace baton::kernels::cuda {
namespace {

struct Loading {
  NcclLibrary library;
  std::string error;
};

template <typename Function>
void Find(void* handle, const char* name, Function* function, std::string* error) {
  *function = reinterpret_cast<Function>(dlsym(handle, name));
  if (*function == nullptr && error->empty()) {
    *error = std::string("libnccl.so.2 has no ") + name + ": it is too old";
  }
}

// 22703 is 2.27.3.
std::string VersionText(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

Loading LoadOnce() {
  Loading loading;
  void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    loading.error = std::string("NCCL is not there: ") + dlerror();
    return loading;
  }
  NcclLibrary& nccl = loading.library;
  std::string* error = &loading.error;
  Find(handle, "ncclGetUniqueId", &nccl.get_unique_id, error);
  Find(handle, "ncclCommInitRankConfig", &nccl.comm_init_rank_config, error);
  Find(handle, "ncclCommGetAsyncError", &nccl.comm_get_async_error, error);
  Find(handle, "ncclCommAbort", &nccl.comm_abort, error);
  Find(handle, "ncclGroupStart", &nccl.group_start, error);
  Find(handle, "ncclGroupEnd", &nccl.group_end, error);
  Find(handle, "ncclGetErrorString", &nccl.get_error_string, error);
  Find(handle, "ncclAllReduce", &nccl.all_reduce, error);
  Find(handle, "ncclAllGather", &nccl.all_gather, error);
  Find(handle, "ncclBroadcast", &nccl.broadcast, error);
  decltype(&::ncclGetVersion) get_version = nullptr;
  Find(handle, "ncclGetVersion", &get_version, error);
  int version = 0;
  if (get_version != nullptr && get_version(&version) == ncclSuccess) {
    nccl.version = VersionText(version);
  }
  return loading;
}

}  // namespace

const NcclLibrary* NcclLibrary::Load(std::string* error) {
  static const Loading loading = LoadOnce();
  *error = loading.error;
  return loading.error.empty() ? &loading.library : nullptr;
}

}  // namespace baton::kernels::cuda
