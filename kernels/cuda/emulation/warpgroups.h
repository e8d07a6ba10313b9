#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace baton::kernels::emulation {

// One thread's part of a product that its warpgroup has ordered: D (64 x 8 tiles) += A (64 x 16) B.
struct Product {
  float* d = nullptr;  // [tiles][4], the thread's; touched when the product is waited for
  uint32_t tiles = 0;
  bool is_added = false;  // else D = A B
  bool a_in_registers = false;
  uint32_t a[4] = {};  // the thread's
  uint64_t a_descriptor = 0;
  uint64_t b_descriptor = 0;
  bool b_is_transposed = false;  // rows of B in shared memory lie along N, not along K
};

// The asynchronous products (wgmma) of a block's warpgroups. They are computed at the latest
// moment: when they are waited for, from what shared memory holds then.
class Warpgroups {
 public:
  void Reset(uint32_t threads);

  void Begin(const Product& product);
  void Commit();
  // Until at most `pending` committed groups are under way; all 128 threads come.
  void Wait(uint32_t pending);

  void ReportLeftovers() const;

 private:
  struct Thread {
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
  };
  void Finish(uint32_t first_thread, uint32_t pending);

  std::vector<Thread> threads_;
  std::vector<uint32_t> arrived_;  // by warpgroup
};

Warpgroups& BlockWarpgroups();

}  // namespace baton::kernels::emulation
