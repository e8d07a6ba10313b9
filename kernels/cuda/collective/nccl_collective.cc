#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/cuda.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/collective/nccl_library.h"

// Communicators are asynchronous ("blocking = 0"): a call that has to wait for a peer says that it
// is under way, and is asked after until it is done or the group is aborted. So no thread is ever
// inside NCCL for long, and an abort can always take a communicator away:
//
//   operation   lock own endpoint, enqueue, ask until done        the group fails -> leave
//   abort       mark the group failed, then for each endpoint: lock, ncclCommAbort, forget it
//
// ncclCommAbort also ends what waits on the GPU for a peer, and with it a rank's Synchronize().
namespace baton::kernels {
namespace {

using cuda::NcclLibrary;

constexpr std::chrono::minutes kJoinTimeout{2};

class NcclCollective;

// What the endpoints of one group share.
class NcclGroup {
 public:
  explicit NcclGroup(const NcclLibrary& nccl) : nccl_(nccl) {}

  const NcclLibrary& nccl() const { return nccl_; }
  bool failed() const { return failed_.load(); }
  std::string failure() const {
    const std::scoped_lock lock(mutex_);
    return failure_;
  }
  // False: it was so already.
  bool Fail(std::string why) {
    const std::scoped_lock lock(mutex_);
    if (!failure_.empty()) return false;
    failure_ = why.empty() ? "aborted" : std::move(why);
    failed_.store(true);
    return true;
  }

  void Join(NcclCollective* endpoint) {
    const std::scoped_lock lock(mutex_);
    endpoints_.push_back(endpoint);
  }
  void Leave(NcclCollective* endpoint) {
    const std::scoped_lock lock(mutex_);
    std::erase(endpoints_, endpoint);
  }
  void ReleaseAll();

 private:
  const NcclLibrary& nccl_;
  std::atomic<bool> failed_ = false;
  mutable std::mutex mutex_;
  std::string failure_;
  std::vector<NcclCollective*> endpoints_;
};

class NcclCollective final : public Collective {
 public:
  NcclCollective(int32_t rank, int32_t size, cuda::CudaBackend& backend,
                 std::shared_ptr<NcclGroup> group)
      : rank_(rank), size_(size), backend_(backend), group_(std::move(group)) {
    group_->Join(this);
  }
  // The backend goes after its endpoint, and nothing is under way on it.
  ~NcclCollective() override {
    group_->Leave(this);
    Release();
  }

  std::string name() const override { return "nccl " + group_->nccl().version; }
  int32_t rank() const override { return rank_; }
  int32_t size() const override { return size_; }

  bool AllReduceSum(float* data, size_t count) override {
    return Enqueue([&](const NcclLibrary& nccl, cudaStream_t stream) {
      return nccl.all_reduce(data, data, count, ncclFloat32, ncclSum, comm_, stream);
    });
  }
  bool AllGather(const void* mine, size_t bytes, void* all) override {
    return Enqueue([&](const NcclLibrary& nccl, cudaStream_t stream) {
      return nccl.all_gather(mine, all, bytes, ncclInt8, comm_, stream);
    });
  }
  bool Broadcast(void* data, size_t bytes, int32_t root) override {
    return Enqueue([&](const NcclLibrary& nccl, cudaStream_t stream) {
      return nccl.broadcast(data, data, bytes, ncclInt8, root, comm_, stream);
    });
  }

  void Abort(std::string why) override {
    if (group_->Fail(std::move(why))) group_->ReleaseAll();
  }
  std::string failure() const override { return group_->failure(); }

  // With the group's other ranks, inside one ncclGroupStart/End.
  ncclResult_t BeginJoin(const ncclUniqueId& id) {
    (void)backend_.stream();  // makes the device the thread's
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    return group_->nccl().comm_init_rank_config(&comm_, size_, id, rank_, &config);
  }
  // "" or what went wrong.
  std::string FinishJoin() {
    const auto end = std::chrono::steady_clock::now() + kJoinTimeout;
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
      const ncclResult_t asked = group_->nccl().comm_get_async_error(comm_, &state);
      if (asked != ncclSuccess) state = asked;
      if (state == ncclInProgress && std::chrono::steady_clock::now() > end) {
        return "NCCL has not joined the GPUs within two minutes";
      }
      if (state == ncclInProgress) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (state == ncclSuccess) return "";
    return std::string("NCCL cannot join the GPUs: ") + group_->nccl().get_error_string(state);
  }

  void Release() {
    const std::scoped_lock lock(mutex_);
    if (comm_ != nullptr) group_->nccl().comm_abort(comm_);
    comm_ = nullptr;
  }

 private:
  template <typename Call>
  bool Enqueue(const Call& call) {
    const ncclResult_t state = Run(call);
    if (state == ncclSuccess) return true;
    Abort(std::string("NCCL: ") + group_->nccl().get_error_string(state));
    return false;
  }

  template <typename Call>
  ncclResult_t Run(const Call& call) {
    const cuda::Stream stream = backend_.stream();
    const std::scoped_lock lock(mutex_);
    if (group_->failed() || comm_ == nullptr) return ncclInvalidUsage;
    const NcclLibrary& nccl = group_->nccl();
    ncclResult_t state = call(nccl, static_cast<cudaStream_t>(stream.handle));
    // Also tells what has happened to operations before this one.
    if (state == ncclSuccess) state = ncclInProgress;
    while (state == ncclInProgress && !group_->failed()) {
      const ncclResult_t asked = nccl.comm_get_async_error(comm_, &state);
      if (asked != ncclSuccess) return asked;
      if (state == ncclInProgress) std::this_thread::yield();
    }
    return group_->failed() ? ncclInvalidUsage : state;
  }

  const int32_t rank_;
  const int32_t size_;
  cuda::CudaBackend& backend_;
  const std::shared_ptr<NcclGroup> group_;
  std::mutex mutex_;  // comm_, against an abort
  ncclComm_t comm_ = nullptr;
};

void NcclGroup::ReleaseAll() {
  const std::scoped_lock lock(mutex_);
  for (NcclCollective* endpoint : endpoints_) endpoint->Release();
}

}  // namespace

CudaJoining JoinCudaBackends(const std::vector<Backend*>& backends) {
  CudaJoining joining;
  const NcclLibrary* nccl = NcclLibrary::Load(&joining.error);
  if (nccl == nullptr) return joining;
  ncclUniqueId id;
  if (const ncclResult_t got = nccl->get_unique_id(&id); got != ncclSuccess) {
    joining.error = std::string("NCCL: ") + nccl->get_error_string(got);
    return joining;
  }
  const auto group = std::make_shared<NcclGroup>(*nccl);
  std::vector<std::unique_ptr<NcclCollective>> ranks;
  nccl->group_start();
  for (size_t r = 0; r < backends.size(); ++r) {
    ranks.push_back(std::make_unique<NcclCollective>(int32_t(r), int32_t(backends.size()),
                                                     static_cast<cuda::CudaBackend&>(*backends[r]),
                                                     group));
    const ncclResult_t begun = ranks.back()->BeginJoin(id);
    if (begun != ncclSuccess && begun != ncclInProgress) {
      joining.error = std::string("NCCL cannot join the GPUs: ") + nccl->get_error_string(begun);
    }
  }
  nccl->group_end();
  for (const auto& rank : ranks) {
    if (joining.error.empty()) joining.error = rank->FinishJoin();
  }
  if (!joining.error.empty()) return joining;
  for (auto& rank : ranks) joining.collectives.push_back(std::move(rank));
  return joining;
}

}  // namespace baton::kernels
