#include "common/model/device.h"

#include <utility>

#include "kernels/cuda.h"

namespace baton::model {
namespace {

constexpr int32_t kThreadsMax = 1024;

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
  return kernels::MakeCudaBackend(
      {.device = index, .deterministic = options.deterministic, .on_failure = options.on_failure});
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

}  // namespace

absl::StatusOr<OpenedDevice> OpenDevice(const DeviceOptions& options) {
  if (options.threads < 0 || options.threads > kThreadsMax) {
    return InvalidArgument("threads is {}; expected 0 to {}", options.threads, kThreadsMax);
  }
  OpenedDevice opened;
  if (options.kind == DeviceKind::kCuda) {
    kernels::CudaOpening cuda = OpenCuda(options, options.cuda_index);
    if (cuda.backend == nullptr) {
      return FailedPrecondition("device is \"cuda:{}\": {}", options.cuda_index, cuda.error);
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
