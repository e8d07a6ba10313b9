#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/cuda/emulation/device_memory.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/streams.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/runtime/runtime.h"

// Two devices made of the same host memory: the smallest, and one that has warpgroups. Whatever is
// ordered is done when the call returns, but for copies that a test holds back (streams.h).
namespace baton::kernels::cuda {
namespace {

using emulation::Allocation;

constexpr size_t kMemoryBytes = size_t{1} << 30;

// Copies and fills go through the same books as kernels: they must lie inside one allocation.
Allocation& Holding(const void* device, size_t bytes) {
  Allocation* allocation = Allocation::Of(device);
  KERNELS_CHECK(allocation != nullptr);
  const auto* at = static_cast<const std::byte*>(device);
  KERNELS_CHECK(at + bytes <= allocation->data() + allocation->bytes());
  return *allocation;
}

size_t OffsetIn(Allocation& allocation, const void* device) {
  return size_t(static_cast<const std::byte*>(device) - allocation.data());
}

void Write(void* device, const void* bytes, size_t count) {
  Allocation& allocation = Holding(device, count);
  std::memcpy(device, bytes, count);
  allocation.MarkWritten(OffsetIn(allocation, device), count);
}

}  // namespace

Versions FindVersions() { return {.driver = "emulation", .runtime = "emulation"}; }

Error CountDevices(int* count) {
  *count = 2;
  return std::nullopt;
}
Error Describe(int device, DeviceInfo* info) {
  KERNELS_CHECK(device == 0 || device == 1);
  constexpr DeviceTraits kWithWarpgroups = {.compute_capability = 90,
                                            .multiprocessors = 16,
                                            .shared_bytes_per_block = 227 << 10,
                                            .has_warpgroups = true};
  *info = {.name = "emulation",
           .traits = device == 0 ? kSmallestDevice : kWithWarpgroups,
           .memory_bytes = kMemoryBytes,
           .memory_bytes_free = kMemoryBytes};
  return std::nullopt;
}
Error UseDevice(int) { return std::nullopt; }

Error AllocateDevice(size_t bytes, void** memory) {
  if (bytes > kMemoryBytes) return "out of emulated memory";
  *memory = (new Allocation(bytes))->data();
  return std::nullopt;
}
void FreeDevice(void* memory) { delete Allocation::Of(memory); }
Error AllocatePinned(size_t bytes, void** memory) {
  *memory = std::aligned_alloc(256, (bytes / 256 + 1) * 256);
  KERNELS_CHECK(*memory != nullptr);
  return std::nullopt;
}
void FreePinned(void* memory) { std::free(memory); }
Error PinHost(void*, size_t) { return std::nullopt; }
void UnpinHost(void*) {}

Error CreateStream(Stream* stream) {
  stream->handle = new char;  // an address of its own
  return std::nullopt;
}
void DestroyStream(Stream stream) {
  (void)Wait(stream);
  delete static_cast<char*>(stream.handle);
}
Error Wait(Stream stream) { return emulation::Finish(stream.handle); }
Error CreateEvent(Event* event) {
  event->handle = new Stream;  // the stream that it was marked on
  return std::nullopt;
}
void DestroyEvent(Event event) { delete static_cast<Stream*>(event.handle); }
Error Mark(Event event, Stream stream) {
  *static_cast<Stream*>(event.handle) = stream;
  return std::nullopt;
}
Error Wait(Event event) {
  const Stream stream = *static_cast<Stream*>(event.handle);
  return stream.handle == nullptr ? std::nullopt : Wait(stream);
}

Error TimeOn(Stream, const std::function<Error()>& work, double* seconds) {
  const double before = emulation::SecondsPassed();
  const Error error = work();
  *seconds = emulation::SecondsPassed() - before;
  return error;
}

namespace {
using Launches = std::vector<emulation::RecordedLaunch>;
Launches* recording = nullptr;
}  // namespace

Error BeginRecording(Stream) {
  KERNELS_CHECK(recording == nullptr);
  recording = new Launches;
  emulation::RecordLaunches(recording);
  return std::nullopt;
}
Error EndRecording(Stream, Graph* graph) {
  KERNELS_CHECK(recording != nullptr);
  graph->handle = std::exchange(recording, nullptr);
  emulation::RecordLaunches(nullptr);
  return std::nullopt;
}
Error LaunchGraph(Graph graph, Stream stream) {
  if (Error error = Wait(stream)) return error;
  for (const auto& launch : *static_cast<const Launches*>(graph.handle)) {
    emulation::RunGrid(launch.kernel, launch.shape, launch.body);
  }
  return std::nullopt;
}
void DestroyGraph(Graph graph) { delete static_cast<Launches*>(graph.handle); }

Error CopyIn(const void* host, void* device, size_t bytes, Stream stream) {
  KERNELS_CHECK(recording == nullptr);
  if (bytes > 0) emulation::OrderCopy(stream.handle, [=] { Write(device, host, bytes); });
  return std::nullopt;
}
Error CopyOut(const void* device, void* host, size_t bytes, Stream stream) {
  KERNELS_CHECK(recording == nullptr);
  if (Error error = Wait(stream)) return error;
  if (bytes == 0) return std::nullopt;
  Holding(device, bytes);
  std::memcpy(host, device, bytes);
  return std::nullopt;
}
Error CopyWithin(const void* from, void* to, size_t bytes, Stream stream) {
  KERNELS_CHECK(recording == nullptr);
  if (Error error = Wait(stream)) return error;
  if (bytes == 0) return std::nullopt;
  Holding(from, bytes);
  Write(to, from, bytes);
  return std::nullopt;
}
Error FillZero(void* device, size_t bytes, Stream stream) {
  KERNELS_CHECK(recording == nullptr);
  if (Error error = Wait(stream)) return error;
  Allocation& allocation = Holding(device, bytes);
  std::memset(device, 0, bytes);
  allocation.MarkWritten(OffsetIn(allocation, device), bytes);
  return std::nullopt;
}

}  // namespace baton::kernels::cuda
