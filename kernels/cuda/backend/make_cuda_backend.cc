#include "kernels/cuda.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/backend/demands.h"

namespace baton::kernels {

CudaProbe ProbeCuda() {
  CudaProbe probe;
  int count = 0;
  if (const cuda::Error error = cuda::CountDevices(&count)) {
    probe.why_none = *error;
    return probe;
  }
  if (count == 0) probe.why_none = *cuda::CheckPresent(0, count);
  for (int index = 0; index < count; ++index) {
    cuda::DeviceInfo info;
    if (const cuda::Error error = cuda::Describe(index, &info)) {
      probe.why_none = *error;
      continue;
    }
    probe.devices.push_back({.index = index,
                             .name = info.name,
                             .compute_capability = info.traits.compute_capability,
                             .memory_bytes = info.memory_bytes,
                             .memory_bytes_free = info.memory_bytes_free});
  }
  return probe;
}

CudaOpening MakeCudaBackend(const CudaOptions& options) {
  CudaOpening opening;
  if (const cuda::Error error = cuda::CudaBackend::Create(options, &opening.backend)) {
    opening.error = *error;
  }
  return opening;
}

}  // namespace baton::kernels
