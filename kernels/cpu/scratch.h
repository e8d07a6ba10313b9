#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cpu/memory.h"

namespace baton::kernels {

// Memory that is reused from call to call and only grows. Contents do not survive Reserve().
class Scratch {
 public:
  // At least `bytes`, 64-byte aligned.
  std::byte* Reserve(size_t bytes) {
    if (memory_ == nullptr || memory_->size() < bytes) {
      memory_.reset();
      memory_ = std::make_unique<CpuMemory>(bytes + bytes / 4);
    }
    return memory_->data();
  }

 private:
  std::unique_ptr<CpuMemory> memory_;
};

}  // namespace baton::kernels
