#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/convert.h"

namespace baton::kernels {
namespace {

int64_t TotalRows(std::span<const HostMatrix> parts) {
  int64_t rows = 0;
  for (const HostMatrix& part : parts) rows += part.rows;
  return rows;
}

int64_t DwordsOf(int64_t cols, DType dtype) {
  return dtype == DType::kBF16 ? (cols + 1) / 2 : cols;
}

// Where row `n` of the stacked parts lies.
const std::byte* RowOf(std::span<const HostMatrix> parts, int64_t n, DType& dtype) {
  size_t i = 0;
  while (n >= parts[i].rows) n -= parts[i++].rows;
  dtype = parts[i].dtype;
  return parts[i].data + n * parts[i].cols * int64_t(BytesOf(dtype));
}

uint16_t Bf16At(const std::byte* row, DType dtype, int64_t i) {
  if (dtype != DType::kBF16) return Bf16FromF32(LoadElement(row, dtype, i));
  uint16_t bits;
  std::memcpy(&bits, row + i * 2, 2);
  return bits;
}

uint32_t DwordAt(const std::byte* row, DType dtype, int64_t cols, DType target, int64_t k) {
  if (target == DType::kF32) return std::bit_cast<uint32_t>(LoadElement(row, dtype, k));
  const uint32_t low = Bf16At(row, dtype, 2 * k);
  const uint32_t high = 2 * k + 1 < cols ? Bf16At(row, dtype, 2 * k + 1) : 0;
  return low | high << 16;
}

// Fills one panel, in blocks of k that keep its lines in the first-level cache across the lanes.
void FillPanel(std::span<const HostMatrix> parts, int64_t first_row, int64_t rows, int64_t cols,
               DType target, int64_t dwords, uint32_t* panel) {
  constexpr int64_t kBlock = 64;
  for (int64_t k0 = 0; k0 < dwords; k0 += kBlock) {
    const int64_t k1 = std::min(dwords, k0 + kBlock);
    for (int64_t lane = 0; lane < rows; ++lane) {
      DType dtype;
      const std::byte* row = RowOf(parts, first_row + lane, dtype);
      for (int64_t k = k0; k < k1; ++k) {
        panel[k * kPanelLanes + lane] = DwordAt(row, dtype, cols, target, k);
      }
    }
  }
}

}  // namespace

PackedMatrix::PackedMatrix(std::span<const HostMatrix> parts, DType dtype, ThreadPool& pool)
    : rows_(TotalRows(parts)),
      cols_(parts.empty() ? 0 : parts[0].cols),
      dtype_(dtype),
      dwords_(DwordsOf(cols_, dtype)),
      memory_(size_t(num_panels()) * panel_bytes()) {
  KERNELS_CHECK(rows_ > 0 && cols_ > 0);
  KERNELS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  for (const HostMatrix& part : parts) KERNELS_CHECK(part.cols == cols_);
  pool.ParallelFor(num_panels(), [&](int64_t p, int) {
    const int64_t first = p * kPanelLanes;
    auto* out = reinterpret_cast<uint32_t*>(memory_.data() + size_t(p) * panel_bytes());
    FillPanel(parts, first, std::min<int64_t>(kPanelLanes, rows_ - first), cols_, dtype_, dwords_,
              out);
  });
}

void PackedMatrix::UnpackRow(int64_t n, float* out) const {
  KERNELS_CHECK(n >= 0 && n < rows_);
  const auto* from = reinterpret_cast<const uint32_t*>(panel(n / kPanelLanes)) + n % kPanelLanes;
  for (int64_t k = 0; k < dwords_; ++k, from += kPanelLanes) {
    if (dtype_ == DType::kF32) {
      out[k] = std::bit_cast<float>(*from);
    } else {
      out[2 * k] = F32FromBf16(uint16_t(*from));
      if (2 * k + 1 < cols_) out[2 * k + 1] = F32FromBf16(uint16_t(*from >> 16));
    }
  }
}

}  // namespace baton::kernels
