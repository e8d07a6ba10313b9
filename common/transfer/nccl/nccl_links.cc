#include "common/transfer/nccl/nccl_links.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

// Communicators are asynchronous ("blocking = 0"): no call waits for the other side, and an abort
// can always take one away. What is under way, in order:
//
//   joining | enqueuing   NCCL says "in progress"
//   running               an event on the stream has not come
namespace baton::transfer {
namespace {

struct NcclApi {
  decltype(&::ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&::ncclCommInitRankConfig) comm_init_rank_config = nullptr;
  decltype(&::ncclCommGetAsyncError) comm_get_async_error = nullptr;
  decltype(&::ncclCommAbort) comm_abort = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
  decltype(&::ncclSend) send = nullptr;
  decltype(&::ncclRecv) recv = nullptr;
  decltype(&::ncclGetErrorString) get_error_string = nullptr;
};

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

// Loaded once and kept for the life of the process.
absl::StatusOr<const NcclApi*> LoadNccl() {
  static NcclApi api;
  static const absl::Status loaded = [] {
    void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return FailedPrecondition("transport is nccl: {}", dlerror());
    const bool whole = Find(library, "ncclGetUniqueId", &api.get_unique_id) &&
                       Find(library, "ncclCommInitRankConfig", &api.comm_init_rank_config) &&
                       Find(library, "ncclCommGetAsyncError", &api.comm_get_async_error) &&
                       Find(library, "ncclCommAbort", &api.comm_abort) &&
                       Find(library, "ncclGroupStart", &api.group_start) &&
                       Find(library, "ncclGroupEnd", &api.group_end) &&
                       Find(library, "ncclSend", &api.send) &&
                       Find(library, "ncclRecv", &api.recv) &&
                       Find(library, "ncclGetErrorString", &api.get_error_string);
    if (whole) return absl::OkStatus();
    return FailedPrecondition("transport is nccl, but libnccl.so.2 is too old");
  }();
  RETURN_IF_ERROR(loaded);
  return &api;
}

absl::Status FromCuda(const char* call, cudaError_t status) {
  if (status == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // told here: not to be taken for the next launch's
  return Unavailable("{}: {}", call, cudaGetErrorString(status));
}

class NcclLink final : public PairLink {
 public:
  NcclLink(const NcclApi& nccl, int device) : nccl_(nccl), device_(device) {}
  ~NcclLink() override {
    Abort();
    if (event_ != nullptr) cudaEventDestroy(event_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  absl::Status Begin(const ncclUniqueId& id, int rank) {
    RETURN_IF_ERROR(FromCuda("cudaSetDevice", cudaSetDevice(device_)));
    RETURN_IF_ERROR(
        FromCuda("cudaStreamCreate", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)));
    RETURN_IF_ERROR(
        FromCuda("cudaEventCreate", cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    phase_ = Phase::kEnqueuing;
    return FromNccl(nccl_.comm_init_rank_config(&comm_, 2, id, rank, &config));
  }

  absl::StatusOr<bool> Busy() override {
    if (comm_ == nullptr) return Unavailable("NCCL: the link was aborted");
    if (phase_ == Phase::kEnqueuing) {
      ncclResult_t state = ncclSuccess;
      RETURN_IF_ERROR(FromNccl(nccl_.comm_get_async_error(comm_, &state)));
      if (state == ncclInProgress) return true;
      RETURN_IF_ERROR(FromNccl(state));
      RETURN_IF_ERROR(FromCuda("cudaSetDevice", cudaSetDevice(device_)));
      RETURN_IF_ERROR(FromCuda("cudaEventRecord", cudaEventRecord(event_, stream_)));
      phase_ = Phase::kRunning;
    }
    if (phase_ == Phase::kRunning) {
      const cudaError_t state = cudaEventQuery(event_);
      if (state == cudaErrorNotReady) return true;
      RETURN_IF_ERROR(FromCuda("cudaEventQuery", state));
      phase_ = Phase::kIdle;
    }
    return false;
  }

  absl::Status Send(std::span<const Piece> pieces) override {
    return Group(pieces, [this](const Piece& piece) {
      return nccl_.send(piece.data, piece.bytes, ncclInt8, Other(), comm_, stream_);
    });
  }
  absl::Status Receive(std::span<const Piece> pieces) override {
    return Group(pieces, [this](const Piece& piece) {
      return nccl_.recv(piece.data, piece.bytes, ncclInt8, Other(), comm_, stream_);
    });
  }

  // ncclCommAbort ends what waits on the GPU for the other side; the stream is empty then.
  void Abort() override {
    if (comm_ == nullptr) return;
    cudaSetDevice(device_);
    nccl_.comm_abort(std::exchange(comm_, nullptr));
    cudaStreamSynchronize(stream_);
  }

  void set_rank(int rank) { rank_ = rank; }

 private:
  enum class Phase : uint8_t { kIdle, kEnqueuing, kRunning };

  int Other() const { return 1 - rank_; }

  template <typename Call>
  absl::Status Group(std::span<const Piece> pieces, const Call& call) {
    if (comm_ == nullptr) return Unavailable("NCCL: the link was aborted");
    RETURN_IF_ERROR(FromCuda("cudaSetDevice", cudaSetDevice(device_)));
    RETURN_IF_ERROR(FromNccl(nccl_.group_start()));
    absl::Status status;
    for (const Piece& piece : pieces) {
      if (piece.bytes > 0 && status.ok()) status = FromNccl(call(piece));
    }
    const absl::Status ended = FromNccl(nccl_.group_end());
    phase_ = Phase::kEnqueuing;
    return status.ok() ? ended : status;
  }

  absl::Status FromNccl(ncclResult_t result) const {
    if (result == ncclSuccess || result == ncclInProgress) return absl::OkStatus();
    return Unavailable("NCCL: {}", nccl_.get_error_string(result));
  }

  const NcclApi& nccl_;
  const int device_;
  int rank_ = 0;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
  Phase phase_ = Phase::kIdle;
};

class NcclLinks final : public PairLinks {
 public:
  NcclLinks(const NcclApi& nccl, int device) : nccl_(nccl), device_(device) {}
  ~NcclLinks() override {
    for (void* memory : memory_) cudaFreeHost(memory);
  }

  absl::StatusOr<std::string> MakeId() override {
    ncclUniqueId id;
    if (const ncclResult_t got = nccl_.get_unique_id(&id); got != ncclSuccess) {
      return Unavailable("NCCL: {}", nccl_.get_error_string(got));
    }
    return std::string(id.internal, sizeof id.internal);
  }

  absl::StatusOr<std::unique_ptr<PairLink>> Join(const std::string& text, int rank) override {
    ncclUniqueId id;
    if (text.size() != sizeof id.internal) {
      return InvalidArgument("NCCL: an id of {} bytes, not {}", text.size(), sizeof id.internal);
    }
    std::memcpy(id.internal, text.data(), text.size());
    auto link = std::make_unique<NcclLink>(nccl_, device_);
    link->set_rank(rank);
    RETURN_IF_ERROR(link->Begin(id, rank));
    return link;
  }

  // Portable: of every GPU. Mapped: kernels, and so NCCL's, reach it by the same address.
  absl::StatusOr<std::byte*> Allocate(size_t bytes) override {
    void* memory = nullptr;
    RETURN_IF_ERROR(FromCuda("cudaSetDevice", cudaSetDevice(device_)));
    const cudaError_t got =
        cudaHostAlloc(&memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
    if (got != cudaSuccess) {
      return ResourceExhausted("{} bytes of pinned memory for the KV pool: {}", bytes,
                               cudaGetErrorString(got));
    }
    std::memset(memory, 0, bytes);
    const std::scoped_lock lock(mutex_);
    memory_.push_back(memory);
    return static_cast<std::byte*>(memory);
  }

 private:
  const NcclApi& nccl_;
  const int device_;
  std::mutex mutex_;
  std::vector<void*> memory_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PairLinks>> OpenNcclLinks(int cuda_device) {
  ASSIGN_OR_RETURN(const NcclApi* nccl, LoadNccl());
  const cudaError_t there = cudaSetDevice(cuda_device);
  if (there != cudaSuccess) {
    return FailedPrecondition("transport is nccl: cuda:{}: {}", cuda_device,
                              cudaGetErrorString(there));
  }
  return std::make_unique<NcclLinks>(*nccl, cuda_device);
}

}  // namespace baton::transfer
