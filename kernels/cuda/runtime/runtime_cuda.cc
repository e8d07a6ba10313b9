#include <cuda.h>
#include <cuda_runtime.h>

#include "kernels/cuda/backend/demands.h"
#include "kernels/cuda/launch/tensor_map.h"
#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {
namespace {

Error ErrorOf(const char* call, cudaError_t status) {
  if (status == cudaSuccess) return std::nullopt;
  cudaGetLastError();  // told here: not to be taken for the next launch's
  return std::string(call) + ": " + cudaGetErrorString(status);
}

cudaStream_t HandleOf(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

}  // namespace

Versions FindVersions() {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return {.driver = driver == 0 ? "" : VersionText(driver), .runtime = VersionText(runtime)};
}

Error CountDevices(int* count) {
  *count = 0;
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (Error error = CheckDriver(driver, runtime)) return error;
  const cudaError_t status = cudaGetDeviceCount(count);
  if (status != cudaSuccess) {
    *count = 0;  // left untouched by the runtime
    return ErrorOf("cudaGetDeviceCount", status);
  }
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
                  .shared_bytes_per_block = properties.sharedMemPerBlockOptin,
                  .has_warpgroups = properties.major == 9};
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

Error CreateEvent(Event* event) {
  cudaEvent_t handle = nullptr;
  // Without times, and the waiting thread sleeps: on a worker others have need of its core.
  const cudaError_t status =
      cudaEventCreateWithFlags(&handle, cudaEventDisableTiming | cudaEventBlockingSync);
  event->handle = handle;
  return ErrorOf("cudaEventCreate", status);
}
void DestroyEvent(Event event) { cudaEventDestroy(static_cast<cudaEvent_t>(event.handle)); }
Error Mark(Event event, Stream stream) {
  return ErrorOf("cudaEventRecord",
                 cudaEventRecord(static_cast<cudaEvent_t>(event.handle), HandleOf(stream)));
}
Error Wait(Event event) {
  return ErrorOf("cudaEventSynchronize",
                 cudaEventSynchronize(static_cast<cudaEvent_t>(event.handle)));
}

Error TimeOn(Stream stream, const std::function<Error()>& work, double* seconds) {
  struct Events {
    cudaEvent_t begin = nullptr, end = nullptr;
    ~Events() {
      if (begin != nullptr) cudaEventDestroy(begin);
      if (end != nullptr) cudaEventDestroy(end);
    }
  } events;
  cudaError_t status = cudaEventCreate(&events.begin);
  if (status == cudaSuccess) status = cudaEventCreate(&events.end);
  if (status == cudaSuccess) status = cudaEventRecord(events.begin, HandleOf(stream));
  if (status != cudaSuccess) return ErrorOf("cudaEventRecord", status);
  if (Error error = work()) return error;
  status = cudaEventRecord(events.end, HandleOf(stream));
  if (status == cudaSuccess) status = cudaEventSynchronize(events.end);
  float milliseconds = 0;
  if (status == cudaSuccess) {
    status = cudaEventElapsedTime(&milliseconds, events.begin, events.end);
  }
  *seconds = double{milliseconds} * 1e-3;
  return ErrorOf("cudaEventElapsedTime", status);
}

Error BeginRecording(Stream stream) {
  return ErrorOf("cudaStreamBeginCapture",
                 cudaStreamBeginCapture(HandleOf(stream), cudaStreamCaptureModeThreadLocal));
}
Error EndRecording(Stream stream, Graph* graph) {
  cudaGraph_t recorded = nullptr;
  if (Error error =
          ErrorOf("cudaStreamEndCapture", cudaStreamEndCapture(HandleOf(stream), &recorded))) {
    return error;
  }
  cudaGraphExec_t made = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&made, recorded, 0);
  cudaGraphDestroy(recorded);
  graph->handle = made;
  return ErrorOf("cudaGraphInstantiate", status);
}
Error LaunchGraph(Graph graph, Stream stream) {
  return ErrorOf("cudaGraphLaunch",
                 cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle), HandleOf(stream)));
}
void DestroyGraph(Graph graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph.handle)); }

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

// The driver's function, which the runtime finds: nothing is linked with the driver's library.
Error Encode(const MatrixBoxes& matrix, TensorMap* map) {
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
  static const auto encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                     &result);
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
  }();
  if (encode == nullptr) return "the NVIDIA driver has no cuTensorMapEncodeTiled: update it";
  const cuuint64_t sizes[2] = {matrix.columns, matrix.rows}, strides[1] = {matrix.row_bytes};
  const cuuint32_t box[2] = {matrix.box_columns, matrix.box_rows}, steps[2] = {1, 1};
  const CUtensorMapSwizzle swizzle = matrix.box_columns == 64   ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : matrix.box_columns == 32 ? CU_TENSOR_MAP_SWIZZLE_64B
                                                                : CU_TENSOR_MAP_SWIZZLE_32B;
  const CUresult status = encode(
      reinterpret_cast<CUtensorMap*>(map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
      const_cast<void*>(matrix.base), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status == CUDA_SUCCESS) return std::nullopt;
  return "cuTensorMapEncodeTiled: error " + std::to_string(int(status));
}

}  // namespace baton::kernels::cuda
