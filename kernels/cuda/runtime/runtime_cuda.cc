#include <cuda_runtime.h>

#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {
namespace {

Error ErrorOf(const char* call, cudaError_t status) {
  if (status == cudaSuccess) return std::nullopt;
  cudaGetLastError();  // told here: not to be taken for the next launch's
  return std::string(call) + ": " + cudaGetErrorString(status);
}

cudaStream_t HandleOf(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

Error CountDevices(int* count) {
  *count = 0;
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "no NVIDIA driver is installed";
  // Minor versions of a major one work together.
  if (driver / 1000 < runtime / 1000) {
    return "the NVIDIA driver knows CUDA " + VersionText(driver) + ", this build needs " +
           std::to_string(runtime / 1000) + ".0 or newer: update the driver";
  }
  const cudaError_t status = cudaGetDeviceCount(count);
  if (status != cudaSuccess) {
    *count = 0;  // left untouched by the runtime
    return ErrorOf("cudaGetDeviceCount", status);
  }
  if (*count == 0) return "this machine has no NVIDIA GPU";
  return std::nullopt;
}

Error Describe(int device, DeviceInfo* info) {
  cudaDeviceProp properties;
  if (Error error =
          ErrorOf("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, device))) {
    return error;
  }
  if (Error error = UseDevice(device)) return error;
  info->name = properties.name;
  info->traits = {.compute_capability = properties.major * 10 + properties.minor,
                  .multiprocessors = properties.multiProcessorCount,
                  .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
  return ErrorOf("cudaMemGetInfo", cudaMemGetInfo(&info->memory_bytes_free, &info->memory_bytes));
}

Error UseDevice(int device) {
  thread_local int current = -1;
  if (current == device) return std::nullopt;
  Error error = ErrorOf("cudaSetDevice", cudaSetDevice(device));
  if (!error) current = device;
  return error;
}

Error AllocateDevice(size_t bytes, void** memory) {
  return ErrorOf("cudaMalloc", cudaMalloc(memory, bytes));
}
void FreeDevice(void* memory) { cudaFree(memory); }

Error AllocatePinned(size_t bytes, void** memory) {
  return ErrorOf("cudaMallocHost", cudaMallocHost(memory, bytes));
}
void FreePinned(void* memory) { cudaFreeHost(memory); }

Error PinHost(void* memory, size_t bytes) {
  return ErrorOf("cudaHostRegister", cudaHostRegister(memory, bytes, cudaHostRegisterDefault));
}
void UnpinHost(void* memory) { cudaHostUnregister(memory); }

Error CreateStream(Stream* stream) {
  cudaStream_t handle = nullptr;
  const cudaError_t status = cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking);
  stream->handle = handle;
  return ErrorOf("cudaStreamCreate", status);
}
void DestroyStream(Stream stream) { cudaStreamDestroy(HandleOf(stream)); }
Error Wait(Stream stream) {
  return ErrorOf("cudaStreamSynchronize", cudaStreamSynchronize(HandleOf(stream)));
}

Error CopyIn(const void* host, void* device, size_t bytes, Stream stream) {
  return ErrorOf("copy to the device",
                 cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, HandleOf(stream)));
}
Error CopyOut(const void* device, void* host, size_t bytes, Stream stream) {
  return ErrorOf("copy to the host",
                 cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, HandleOf(stream)));
}
Error CopyWithin(const void* from, void* to, size_t bytes, Stream stream) {
  return ErrorOf("copy on the device",
                 cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, HandleOf(stream)));
}
Error FillZero(void* device, size_t bytes, Stream stream) {
  return ErrorOf("cudaMemsetAsync", cudaMemsetAsync(device, 0, bytes, HandleOf(stream)));
}

}  // namespace baton::kernels::cuda
