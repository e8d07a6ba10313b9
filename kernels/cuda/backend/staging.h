#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {

// The way of a step's small host arrays (positions, block tables, samples) to the device: pinned
// host memory and as much device memory, both filled from the front, both empty again when the
// stream has been waited for. What the layers of a step upload again and again is uploaded once.
//
// The host's side is there twice, so that the next step's arrays can be written while copies of
// this one's are still to be made. The device's is not: what overwrites it is ordered behind the
// launches that read it.
//
// Neither owns the memory nor waits: the backend does both.
class Staging {
 public:
  Staging() = default;
  // `host`: of twice as many bytes.
  Staging(std::byte* host, std::byte* device, size_t bytes)
      : host_(host), other_host_(host + bytes), device_(device), bytes_(bytes) {}

  size_t bytes() const { return bytes_; }
  // After everything that was uploaded has been used.
  void Reset();
  // For the next step, after the copies from the other half of the host's side were made.
  void Flip();

  // Where `count` bytes of room lie on both sides; null pointers when there is not enough left.
  struct Room {
    std::byte* host = nullptr;
    std::byte* device = nullptr;
  };
  Room Take(size_t count);

  // The place on the device of equal bytes that were uploaded since the last Reset(), or null.
  const std::byte* Find(const void* bytes, size_t count) const;
  // Says that the room holds what was uploaded.
  void Remember(const Room& room, size_t count);

 private:
  struct Upload {
    Room room;
    size_t count = 0;
  };
  std::byte* host_ = nullptr;
  std::byte* other_host_ = nullptr;
  std::byte* device_ = nullptr;
  size_t bytes_ = 0;
  size_t used_ = 0;
  std::array<Upload, 16> uploads_ = {};  // the latest ones
  size_t num_uploads_ = 0;
};

}  // namespace baton::kernels::cuda
