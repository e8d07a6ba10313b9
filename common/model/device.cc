#include "common/model/device.h"

namespace baton::model {
namespace {

constexpr int32_t kThreadsMax = 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<kernels::Backend>> OpenDevice(const DeviceOptions& options) {
  if (options.device != "auto" && options.device != "cpu") {
    return InvalidArgument("device is \"{}\"; this build has auto, cpu", options.device);
  }
  if (options.threads < 0 || options.threads > kThreadsMax) {
    return InvalidArgument("threads is {}; expected 0 to {}", options.threads, kThreadsMax);
  }
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

}  // namespace baton::model
