#include "kernels/cuda/backend/launch_queue.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string_view>

namespace baton::kernels::cuda {

LaunchQueue::~LaunchQueue() {
  for (Known& known : known_) Forget(known);
}

void LaunchQueue::Forget(Known& known) {
  if (known.graph.handle != nullptr) DestroyGraph(known.graph);
  known.graph.handle = nullptr;
}

uint64_t LaunchQueue::Hash() const {
  return std::hash<std::string_view>()(
      {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()});
}

// Launches that came once make room before graphs do.
std::list<LaunchQueue::Known>::iterator LaunchQueue::Oldest() {
  const auto once = std::find_if(known_.rbegin(), known_.rend(),
                                 [](const Known& known) { return known.graph.handle == nullptr; });
  return std::prev(once == known_.rend() ? known_.end() : once.base());
}

bool LaunchQueue::FindKnown(Stream stream) {
  const uint64_t hash = Hash();
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.hash == hash && known.calls == calls_ && known.bytes == bytes_;
  });
  if (found != known_.end()) {
    known_.splice(known_.begin(), known_, found);
    return true;
  }
  if (known_.size() == graphs_max_) {
    known_.splice(known_.begin(), known_, Oldest());                 // its memory is used again
    if (known_.front().graph.handle != nullptr) (void)Wait(stream);  // it may be under way
    Forget(known_.front());
  } else {
    known_.emplace_front();
  }
  known_.front().hash = hash;
  known_.front().calls = calls_;
  known_.front().bytes = bytes_;
  return false;
}

Error LaunchQueue::EnqueueAll(const DeviceTraits& device, Stream stream) {
  for (const Call& call : calls_) {
    if (Error error = call.enqueue(bytes_.data() + call.begin, device, stream)) return error;
    ++counts_.launches;
  }
  return std::nullopt;
}

bool LaunchQueue::Record(const DeviceTraits& device, Stream stream, Graph* graph) {
  if (BeginRecording(stream)) return false;
  const uint64_t launches = counts_.launches;
  const Error enqueued = EnqueueAll(device, stream);
  counts_.launches = launches;  // none was run
  if (!EndRecording(stream, graph) && !enqueued) return true;
  if (graph->handle != nullptr) DestroyGraph(*graph);
  graph->handle = nullptr;
  return false;
}

Error LaunchQueue::EnqueueAsGraph(const DeviceTraits& device, Stream stream) {
  if (!FindKnown(stream)) return EnqueueAll(device, stream);
  Graph& graph = known_.front().graph;
  if (graph.handle == nullptr) {
    if (!Record(device, stream, &graph)) {
      graphs_max_ = 0;
      return EnqueueAll(device, stream);
    }
    ++counts_.recorded;
  }
  ++counts_.graphs;
  return LaunchGraph(graph, stream);
}

Error LaunchQueue::Flush(const DeviceTraits& device, Stream stream) {
  const bool is_for_graphs = graphs_max_ > 0 && calls_.size() > 1;
  Error error = is_for_graphs ? EnqueueAsGraph(device, stream) : EnqueueAll(device, stream);
  calls_.clear();
  bytes_.clear();
  return error;
}

}  // namespace baton::kernels::cuda
