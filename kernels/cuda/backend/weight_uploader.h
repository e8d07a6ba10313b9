#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {

// The way of weights to the device, many pieces at a time:
//
//   mapped file --thread 0--> [chunk] --its stream--> device
//                        `--> [chunk] --its stream--> device
//               --thread 1--> [chunk] --its stream--> device
//                         …
//
// A chunk is pinned memory; while the copy of one is under way its thread fills the other, which is
// where page faults and conversions happen.
//
// Pinned memory is num_threads * 2 * chunk_bytes, however large the weights are. Used by one owner
// thread; the threads sleep between two calls and end with the object. An error names the tensor;
// after one, what lies on the device means nothing.
class WeightUploader {
 public:
  struct Options {
    int device = 0;
    int num_threads = 1;
    size_t chunk_bytes = 8 << 20;  // at least one element
  };
  static Error Create(const Options& options, std::unique_ptr<WeightUploader>* uploader);
  // Waits for what is under way.
  ~WeightUploader();
  WeightUploader(const WeightUploader&) = delete;
  WeightUploader& operator=(const WeightUploader&) = delete;

  // The parts' elements as `target` (f32 or bf16), one part after the other, to device memory from
  // `to` on. The parts have been read when it returns; their copies may be under way.
  Error Upload(std::span<const HostMatrix> parts, DType target, std::byte* to);
  // Until everything is on the device.
  Error Wait();

 private:
  // Pinned memory, and the stream of its copies.
  struct Chunk {
    std::byte* host = nullptr;
    Stream stream;
    std::string tensor;  // whose copy is under way; empty: none is
  };
  static constexpr size_t kChunksEach = 2;
  // Elements [begin, end) of a part, as they lie on the device.
  struct Piece {
    const HostMatrix* part = nullptr;
    int64_t begin = 0;
    int64_t end = 0;
    std::byte* to = nullptr;
  };

  explicit WeightUploader(const Options& options) : options_(options) {}
  Error Prepare();
  std::vector<Piece> Cut(std::span<const HostMatrix> parts, DType target, std::byte* to) const;
  void Loop(int thread);
  Error Send(const Piece& piece, DType target, Chunk& chunk);
  // Until the chunk may be filled again.
  Error WaitFor(Chunk& chunk);

  const Options options_;
  std::vector<Chunk> chunks_;  // [thread][kChunksEach], each its thread's while pieces are unread

  std::mutex mutex_;
  std::condition_variable work_, read_;
  // Of the call under way, guarded by mutex_.
  std::vector<Piece> pieces_;
  DType target_ = DType::kF32;
  size_t taken_ = 0;
  size_t unread_ = 0;
  Error error_;  // the first one
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace baton::kernels::cuda
