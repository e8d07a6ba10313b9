#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <type_traits>
#include <vector>

#include "kernels/cuda/launch/run.h"
#include "kernels/cuda/runtime/runtime.h"

// Without it equal launches may look different, and fewer steps are graphs.
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define BATON_CLEARS_PADDING 1
#endif
#endif
#ifndef BATON_CLEARS_PADDING
#define BATON_CLEARS_PADDING 0
#endif

namespace baton::kernels::cuda {

// A step's launches, held back until somebody needs what they do and then enqueued together. The
// same launches with the same arguments come again in every decode step of a batch, because what
// differs from step to step is uploaded to the same places: the second time they are recorded as a
// graph, from then on the graph is launched, which takes the host as long as one launch.
//
// Launches are the same when their arguments are, byte for byte; a hash only finds candidates. The
// graphs used last are kept. Where recording fails, launches are enqueued one by one for good.
//
// Uploads may go to the stream before launches that were added earlier: they must not overwrite
// what those read.
class LaunchQueue {
 public:
  // 0: no graphs.
  explicit LaunchQueue(size_t graphs_max) : graphs_max_(graphs_max) {}
  ~LaunchQueue();
  LaunchQueue(const LaunchQueue&) = delete;
  LaunchQueue& operator=(const LaunchQueue&) = delete;

  // Arguments that Check() has accepted.
  template <typename Args>
  void Add(const Args& args) {
    static_assert(std::is_trivially_copyable_v<Args>);
    Args bare = args;
    ClearPadding(&bare);
    calls_.push_back({[](const std::byte* bytes, const DeviceTraits& device, Stream stream) {
                        Args copy;
                        std::memcpy(static_cast<void*>(&copy), bytes, sizeof copy);
                        return Launch(copy, Choose(copy, device), stream);
                      },
                      bytes_.size()});
    const auto* begin = reinterpret_cast<const std::byte*>(&bare);
    bytes_.insert(bytes_.end(), begin, begin + sizeof bare);
  }
  // So many are worth enqueuing, whatever comes.
  bool is_long() const { return calls_.size() >= 4096; }

  // The error of the first launch that cannot be enqueued; the others are dropped.
  Error Flush(const DeviceTraits& device, Stream stream);

  // How often a graph was launched, and launches were enqueued one by one.
  struct Counts {
    uint64_t graphs = 0;
    uint64_t launches = 0;
    uint64_t recorded = 0;  // graphs made
  };
  const Counts& counts() const { return counts_; }

 private:
  using Enqueue = Error (*)(const std::byte* args, const DeviceTraits& device, Stream stream);
  struct Call {
    Enqueue enqueue;
    size_t begin;  // of its arguments in bytes_
    bool operator==(const Call&) const = default;
  };
  struct Known {
    uint64_t hash = 0;
    std::vector<Call> calls;
    std::vector<std::byte> bytes;
    Graph graph;  // null: met once
  };

  // Where structs of arguments have gaps between fields, these bytes mean nothing.
  template <typename Args>
  static void ClearPadding(Args* args) {
#if BATON_CLEARS_PADDING
    __builtin_clear_padding(args);
#endif
  }

  uint64_t Hash() const;
  std::list<Known>::iterator Oldest();
  // Moves what is known of the queue's launches to the front; false: nothing was, now it is.
  bool FindKnown(Stream stream);
  Error EnqueueAll(const DeviceTraits& device, Stream stream);
  Error EnqueueAsGraph(const DeviceTraits& device, Stream stream);
  bool Record(const DeviceTraits& device, Stream stream, Graph* graph);
  void Forget(Known& known);

  size_t graphs_max_;
  std::vector<Call> calls_;
  std::vector<std::byte> bytes_;
  std::list<Known> known_;  // the latest first
  Counts counts_;
};

}  // namespace baton::kernels::cuda
