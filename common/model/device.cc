#include "common/model/device.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace baton::model {
namespace {

constexpr int32_t kThreadsMax = 1024;

absl::Status CheckThreads(const DeviceOptions& options) {
  if (options.threads >= 0 && options.threads <= kThreadsMax) return absl::OkStatus();
  return InvalidArgument("threads is {}; expected 0 to {}", options.threads, kThreadsMax);
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> OpenCpu(const DeviceOptions& options) {
  if (options.isa == "scalar") return kernels::MakeReferenceBackend();
  constexpr std::string_view kIsas[] = {"auto", "avx2", "avx512", "avx512_bf16"};
  for (const std::string_view isa : kIsas) {
    if (options.isa != isa) continue;
    auto backend = kernels::MakeCpuBackend({.num_threads = options.threads, .isa = options.isa});
    if (backend != nullptr) return backend;
    return FailedPrecondition("isa is \"{}\", which this machine's processor does not have",
                              options.isa);
  }
  return InvalidArgument("isa is \"{}\"; expected auto, scalar, avx2, avx512 or avx512_bf16",
                         options.isa);
}

kernels::CudaOpening OpenCuda(const DeviceOptions& options, int32_t index) {
  kernels::CudaOptions cuda;
  cuda.device = index;
  cuda.deterministic = options.deterministic;
  cuda.warpgroups = options.cuda_warpgroups;
  if (!options.cuda_graphs) cuda.graphs_max = 0;
  cuda.gemm = options.gemm;
  cuda.gemm_folder = options.gemm_folder;
  cuda.on_failure = options.on_failure;
  return kernels::MakeCudaBackend(cuda);
}

// The first GPU that can be opened; null, and why, when there is none.
kernels::CudaOpening OpenAnyCuda(const DeviceOptions& options) {
  const kernels::CudaProbe probe = kernels::ProbeCuda();
  kernels::CudaOpening last{.backend = nullptr, .error = probe.why_none};
  for (const kernels::CudaDevice& device : probe.devices) {
    last = OpenCuda(options, device.index);
    if (last.backend != nullptr) break;
  }
  return last;
}

// One thread at least for each rank.
absl::StatusOr<DeviceGroup> OpenCpus(DeviceOptions options, int32_t size) {
  DeviceGroup group;
  const int32_t threads = options.threads > 0
                              ? options.threads
                              : static_cast<int32_t>(std::thread::hardware_concurrency());
  options.threads = std::max(1, threads / size);
  for (int32_t rank = 0; rank < size; ++rank) {
    ASSIGN_OR_RETURN(auto backend, OpenCpu(options));
    group.backends.push_back(std::move(backend));
  }
  group.collectives = kernels::MakeHostCollectives(size);
  return group;
}

absl::StatusOr<DeviceGroup> OpenCudas(const DeviceOptions& options, int32_t first, int32_t size) {
  if (options.deterministic && size > 2) {
    return InvalidArgument(
        "tensor_parallel_size is {} with deterministic: the sums of more than 2 GPUs depend on a "
        "token's place in the batch",
        size);
  }
  const kernels::CudaProbe probe = kernels::ProbeCuda();
  const int32_t have = static_cast<int32_t>(probe.devices.size());
  if (have == 0) return FailedPrecondition("tensor_parallel_size is {}: {}", size, probe.why_none);
  if (first + size > have) {
    return FailedPrecondition(
        "tensor_parallel_size is {} from device cuda:{} on; this machine has {} GPU(s), counted "
        "from 0",
        size, first, have);
  }
  DeviceGroup group;
  for (int32_t index = first; index < first + size; ++index) {
    kernels::CudaOpening cuda = OpenCuda(options, index);
    if (cuda.backend == nullptr) {
      return FailedPrecondition("device is \"cuda:{}\": {}", index, cuda.error);
    }
    group.backends.push_back(std::move(cuda.backend));
    const std::string name = group.backends.back()->name();
    if (name != group.backends.front()->name()) {
      return FailedPrecondition(
          "tensor_parallel_size is {}, but cuda:{} is {} and cuda:{} is {}: ranks are of one kind",
          size, first, group.backends.front()->name(), index, name);
    }
  }
  std::vector<kernels::Backend*> backends;
  for (const auto& backend : group.backends) backends.push_back(backend.get());
  kernels::CudaJoining joining = kernels::JoinCudaBackends(backends);
  if (joining.collectives.empty()) {
    return FailedPrecondition("tensor_parallel_size is {}: {}", size, joining.error);
  }
  group.collectives = std::move(joining.collectives);
  return group;
}

}  // namespace

std::vector<RankDevice> DeviceGroup::ranks() const {
  std::vector<RankDevice> ranks;
  for (size_t r = 0; r < backends.size(); ++r) {
    ranks.push_back({backends[r].get(), collectives.empty() ? nullptr : collectives[r].get()});
  }
  return ranks;
}

absl::StatusOr<DeviceGroup> OpenDevices(const DeviceOptions& options,
                                        int32_t tensor_parallel_size) {
  if (tensor_parallel_size < 1) {
    return InvalidArgument("tensor_parallel_size is {}, at least 1", tensor_parallel_size);
  }
  if (tensor_parallel_size == 1) {
    ASSIGN_OR_RETURN(OpenedDevice opened, OpenDevice(options));
    DeviceGroup group;
    group.backends.push_back(std::move(opened.backend));
    group.why_no_gpu = std::move(opened.why_no_gpu);
    return group;
  }
  RETURN_IF_ERROR(CheckThreads(options));
  if (options.kind == DeviceKind::kCuda) {
    return OpenCudas(options, options.cuda_index, tensor_parallel_size);
  }
  std::string why_no_gpu;
  if (options.kind == DeviceKind::kAuto && options.isa == "auto") {
    absl::StatusOr<DeviceGroup> group = OpenCudas(options, 0, tensor_parallel_size);
    if (group.ok()) return group;
    why_no_gpu = MessageOf(group.status());
  }
  ASSIGN_OR_RETURN(DeviceGroup group, OpenCpus(options, tensor_parallel_size));
  group.why_no_gpu = std::move(why_no_gpu);
  return group;
}

absl::StatusOr<OpenedDevice> OpenDevice(const DeviceOptions& options) {
  RETURN_IF_ERROR(CheckThreads(options));
  OpenedDevice opened;
  if (options.kind == DeviceKind::kCuda) {
    kernels::CudaOpening cuda = OpenCuda(options, options.cuda_index);
    if (cuda.backend == nullptr) {
      return FailedPrecondition("device is \"cuda:{}\": {}; device cpu computes without a GPU",
                                options.cuda_index, cuda.error);
    }
    opened.backend = std::move(cuda.backend);
    return opened;
  }
  if (options.kind == DeviceKind::kAuto && options.isa == "auto") {
    kernels::CudaOpening cuda = OpenAnyCuda(options);
    opened.backend = std::move(cuda.backend);
    opened.why_no_gpu = std::move(cuda.error);
    if (opened.backend != nullptr) return opened;
  }
  ASSIGN_OR_RETURN(opened.backend, OpenCpu(options));
  return opened;
}

}  // namespace baton::model
