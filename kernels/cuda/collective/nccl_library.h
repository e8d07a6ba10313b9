#pragma once

#include <nccl.h>

#include <string>

namespace baton::kernels::cuda {

// What is called of NCCL, from the library that is there when a worker starts.
struct NcclLibrary {
  decltype(&::ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&::ncclCommInitRankConfig) comm_init_rank_config = nullptr;
  decltype(&::ncclCommGetAsyncError) comm_get_async_error = nullptr;
  decltype(&::ncclCommAbort) comm_abort = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
  decltype(&::ncclGetErrorString) get_error_string = nullptr;
  decltype(&::ncclAllReduce) all_reduce = nullptr;
  decltype(&::ncclAllGather) all_gather = nullptr;
  decltype(&::ncclBroadcast) broadcast = nullptr;
  std::string version;  // "2.27.3"

  // Null, and why, when it cannot be loaded. Loaded once and kept for the life of the process.
  static const NcclLibrary* Load(std::string* error);
};

}  // namespace baton::kernels::cuda
