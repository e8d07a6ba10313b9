#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "kernels/cuda/launch/device.h"

// What the backend asks of a device besides launching kernels: by the CUDA runtime
// (runtime_cuda.cc) or on the host (emulation/runtime_emulated.cc). Errors are the CUDA runtime's,
// with the call's name. Copies and fills are ordered on their stream; host memory that they touch
// stays as it is until Wait().
namespace baton::kernels::cuda {

struct DeviceInfo {
  std::string name;  // "NVIDIA H200"
  DeviceTraits traits;
  size_t memory_bytes = 0;
  size_t memory_bytes_free = 0;
};

// CUDA versions, such as "12.8". The driver's is the newest that it knows; empty: no driver.
struct Versions {
  std::string driver;
  std::string runtime;
};
Versions FindVersions();
// An error says why there can be none: no driver, too old a driver.
Error CountDevices(int* count);
Error Describe(int device, DeviceInfo* info);
// Makes `device` the calling thread's. Cheap when it is already.
Error UseDevice(int device);

Error AllocateDevice(size_t bytes, void** memory);
void FreeDevice(void* memory);
// Host memory that copies need not be staged from; multiples of 256.
Error AllocatePinned(size_t bytes, void** memory);
void FreePinned(void* memory);
// Pins host memory that somebody else has allocated, until UnpinHost().
Error PinHost(void* memory, size_t bytes);
void UnpinHost(void* memory);

Error CreateStream(Stream* stream);
void DestroyStream(Stream stream);
// Until all that was ordered on the stream is done.
Error Wait(Stream stream);

// A place in what is ordered on a stream, to be waited for by itself.
struct Event {
  void* handle = nullptr;
};
Error CreateEvent(Event* event);
void DestroyEvent(Event event);
// The event is now the stream's end so far.
Error Mark(Event event, Stream stream);
Error Wait(Event event);

// Seconds of the device's own time from the first to the last that `work` orders on the stream,
// which is waited for. An error is work's own, or the device's.
Error TimeOn(Stream stream, const std::function<Error()>& work, double* seconds);

// Launches that were recorded once and are enqueued together again and again, arguments and all.
// Between BeginRecording and EndRecording nothing but launches goes to the stream, and none is run.
struct Graph {
  void* handle = nullptr;
};
Error BeginRecording(Stream stream);
Error EndRecording(Stream stream, Graph* graph);
Error LaunchGraph(Graph graph, Stream stream);
void DestroyGraph(Graph graph);

Error CopyIn(const void* host, void* device, size_t bytes, Stream stream);
Error CopyOut(const void* device, void* host, size_t bytes, Stream stream);
Error CopyWithin(const void* from, void* to, size_t bytes, Stream stream);
Error FillZero(void* device, size_t bytes, Stream stream);

}  // namespace baton::kernels::cuda
