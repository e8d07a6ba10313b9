#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace baton::kernels::emulation {

// The emulated device's memory: host memory with, for every two bytes, whether they were ever
// written and by which block of which launch.
class Allocation {
 public:
  explicit Allocation(size_t bytes);
  ~Allocation();

  std::byte* data() { return data_; }
  size_t bytes() const { return bytes_; }

  // From the host: written, by no launch.
  void MarkWritten(size_t offset, size_t bytes);
  // As if never written: what no kernel may read.
  void Forget(size_t offset, size_t bytes);

  // One access of a kernel, already known to lie inside.
  void CheckRead(size_t offset, size_t bytes);
  // By a copy of whole boxes, which takes what nothing was written to along: as NaN.
  void CheckBulkRead(size_t offset, size_t bytes);
  void CheckWrite(size_t offset, size_t bytes);
  void CheckAtomic(size_t offset, size_t bytes);

  // The allocation that holds or ends at the address, or null.
  static Allocation* Of(const void* address);

 private:
  static constexpr size_t kGranule = 2;
  struct Shadow {
    uint32_t launch = 0;      // of the last write
    uint32_t block : 31 = 0;  // of the last write
    uint32_t atomic : 1 = 0;  // that write was atomic
    bool written = false;
  };

  std::byte* data_;
  size_t bytes_;
  std::vector<Shadow> shadow_;
};

}  // namespace baton::kernels::emulation
