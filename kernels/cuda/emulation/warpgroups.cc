#include "kernels/cuda/emulation/warpgroups.h"

#include <array>
#include <cstring>

#include "kernels/convert.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/primitives/swizzle.cuh"

namespace baton::kernels::emulation {
namespace {

constexpr uint32_t kThreads = 128;
constexpr uint32_t kRows = 64;
constexpr uint32_t kInputs = 16;

// What a descriptor says, in bytes.
struct Operand {
  uint32_t start, leading, stride, row_bytes;

  explicit Operand(uint64_t descriptor)
      : start(uint32_t(descriptor & 0x3fff) << 4),
        leading(uint32_t(descriptor >> 16 & 0x3fff) << 4),
        stride(uint32_t(descriptor >> 32 & 0x3fff) << 4),
        row_bytes(RowBytes(uint32_t(descriptor >> 62))) {}

  static uint32_t RowBytes(uint32_t swizzle) { return swizzle == 0 ? 16 : 256u >> swizzle; }

  // Rows along K: eight of them are an atom, the next eight lie `stride` further.
  uint32_t AlongInputs(uint32_t row, uint32_t k) const {
    return start + row / 8 * stride + row % 8 * row_bytes + 2 * k;
  }
  // Rows along N: a row has row_bytes of it, the rest lies `leading` further; eight inputs are an
  // atom, the next eight lie `stride` further.
  uint32_t AlongOutputs(uint32_t column, uint32_t k) const {
    const uint32_t in_row = row_bytes / 2;
    return start + column / in_row * leading + column % in_row * 2 + k % 8 * row_bytes +
           k / 8 * stride;
  }
};

// Reads elements for a warpgroup, each chunk checked once per product.
class Reader {
 public:
  explicit Reader(uint32_t first_thread) : first_thread_(first_thread) {}

  float At(uint32_t address, uint32_t row_bytes) {
    if (row_bytes > 16) address = cuda::SwizzledAddress(address, row_bytes);
    if (address + 2 > BlockShared().bytes()) {
      if (!told_) {
        Report(ViolationKind::kOutOfBounds,
               "a product's operand beyond shared memory, " + WhereNow());
      }
      told_ = true;
      return 0;
    }
    if (checked_.size() < BlockShared().bytes() / 16 + 1) {
      checked_.resize(BlockShared().bytes() / 16 + 1);
    }
    if (!checked_[address / 16]) {
      checked_[address / 16] = true;
      for (uint32_t warp = 0; warp < 4; ++warp) {
        BlockShared().CheckProductRead(address / 16 * 16, MomentOf(first_thread_ + 32 * warp));
      }
    }
    uint16_t bits;
    std::memcpy(&bits, BlockShared().data() + address, 2);
    return F32FromBf16(bits);
  }

 private:
  uint32_t first_thread_;
  bool told_ = false;
  std::vector<bool> checked_;
};

float FromRegisters(const Product* const (&of)[kThreads], uint32_t row, uint32_t k) {
  const uint32_t thread = row / 16 * 32 + row % 8 * 4 + k % 8 / 2;
  const uint32_t pair = of[thread]->a[row % 16 / 8 + k / 8 * 2];
  return F32FromBf16(uint16_t(k % 2 == 0 ? pair : pair >> 16));
}

// Computes one product for the 128 threads that hold parts of its result.
void Multiply(const Product* const (&of)[kThreads], uint32_t first_thread) {
  const Product& product = *of[0];
  const uint32_t columns = product.tiles * 8;
  const Operand a_at(product.a_descriptor), b_at(product.b_descriptor);
  Reader reader(first_thread);
  std::vector<float> a(kRows * kInputs), b(kInputs * columns), sums(kRows * columns, 0);
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t k = 0; k < kInputs; ++k) {
      a[row * kInputs + k] = product.a_in_registers
                                 ? FromRegisters(of, row, k)
                                 : reader.At(a_at.AlongInputs(row, k), a_at.row_bytes);
    }
  }
  for (uint32_t k = 0; k < kInputs; ++k) {
    for (uint32_t n = 0; n < columns; ++n) {
      const uint32_t at =
          product.b_is_transposed ? b_at.AlongOutputs(n, k) : b_at.AlongInputs(n, k);
      b[k * columns + n] = reader.At(at, b_at.row_bytes);
    }
  }
  const auto each = [&](auto visit) {  // thread t's element i of tile j is of this row and column
    for (uint32_t t = 0; t < kThreads; ++t) {
      for (uint32_t i = 0; i < 4 * product.tiles; ++i) {
        const uint32_t row = t / 32 * 16 + t % 32 / 4 + i % 4 / 2 * 8;
        visit(of[t]->d[i], sums[row * columns + i / 4 * 8 + t % 4 * 2 + i % 2]);
      }
    }
  };
  if (product.is_added) each([](float d, float& sum) { sum = d; });
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t k = 0; k < kInputs; ++k) {
      for (uint32_t n = 0; n < columns; ++n) {
        sums[row * columns + n] += a[row * kInputs + k] * b[k * columns + n];
      }
    }
  }
  each([](float& d, float sum) { d = sum; });
}

bool IsSameProduct(const Product& a, const Product& b) {
  return a.tiles == b.tiles && a.is_added == b.is_added && a.a_in_registers == b.a_in_registers &&
         a.a_descriptor == b.a_descriptor && a.b_descriptor == b.b_descriptor &&
         a.b_is_transposed == b.b_is_transposed;
}

}  // namespace

void Warpgroups::Reset(uint32_t threads) {
  threads_.assign(threads, {});
  arrived_.assign(threads / kThreads + 1, 0);
}

void Warpgroups::Begin(const Product& product) { threads_[Here().thread].open.push_back(product); }

void Warpgroups::Commit() {
  Thread& self = threads_[Here().thread];
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

void Warpgroups::Wait(uint32_t pending) {
  const uint32_t group = Here().thread / kThreads;
  if (++arrived_[group] < kThreads) return WaitOn("the warpgroup's products", &arrived_[group]);
  arrived_[group] = 0;
  Finish(group * kThreads, pending);
  Wake(&arrived_[group]);
}

void Warpgroups::Finish(uint32_t first_thread, uint32_t pending) {
  while (threads_[first_thread].groups.size() > pending) {
    const size_t products = threads_[first_thread].groups.front().size();
    for (size_t i = 0; i < products; ++i) {
      const Product* of[kThreads];
      for (uint32_t t = 0; t < kThreads; ++t) {
        const auto& groups = threads_[first_thread + t].groups;
        const bool is_there = !groups.empty() && groups.front().size() == products;
        if (!is_there ||
            !IsSameProduct(groups.front()[i], threads_[first_thread].groups.front()[i])) {
          return Report(ViolationKind::kDivergence,
                        "threads of a warpgroup have ordered different products, " + WhereNow());
        }
        of[t] = &groups.front()[i];
      }
      Multiply(of, first_thread);
    }
    for (uint32_t t = 0; t < kThreads; ++t) threads_[first_thread + t].groups.pop_front();
  }
}

void Warpgroups::ReportLeftovers() const {
  for (const Thread& thread : threads_) {
    if (thread.open.empty() && thread.groups.empty()) continue;
    return Report(ViolationKind::kResources, "ended with products never waited for, " + WhereNow());
  }
}

}  // namespace baton::kernels::emulation
