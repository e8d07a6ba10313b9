#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/convert.h"
#include "kernels/quantized_weight.h"

namespace baton::kernels {
namespace {

int64_t TotalRows(std::span<const HostMatrix> parts) {
  int64_t rows = 0;
  for (const HostMatrix& part : parts) rows += part.rows;
  return rows;
}

int64_t DwordsOf(int64_t cols, DType dtype) {
  if (const int64_t group = GroupOf(dtype)) return (cols + group - 1) / group * group / 4;
  const int64_t per_dword = 4 / int64_t(BytesOf(dtype));
  return (cols + per_dword - 1) / per_dword;
}

// The part that row `n` of the stacked parts is in; `n` becomes its row there.
const HostMatrix& PartOf(std::span<const HostMatrix> parts, int64_t& n) {
  size_t i = 0;
  while (n >= parts[i].rows) n -= parts[i++].rows;
  return parts[i];
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

uint32_t QuantizedDwordAt(const HostMatrix& part, int64_t row, DType target, int64_t k) {
  if (target == DType::kF32) return std::bit_cast<uint32_t>(ElementOf(part, row, k));
  const uint32_t low = Bf16FromF32(ElementOf(part, row, 2 * k));
  const bool has_partner = 2 * k + 1 < part.cols;
  return low | uint32_t(has_partner ? Bf16FromF32(ElementOf(part, row, 2 * k + 1)) : 0) << 16;
}

// Fills one panel, in blocks of k that keep its lines in the first-level cache across the lanes.
void FillPanel(std::span<const HostMatrix> parts, int64_t first_row, int64_t rows, int64_t cols,
               DType target, int64_t dwords, uint32_t* panel) {
  constexpr int64_t kBlock = 64;
  for (int64_t k0 = 0; k0 < dwords; k0 += kBlock) {
    const int64_t k1 = std::min(dwords, k0 + kBlock);
    for (int64_t lane = 0; lane < rows; ++lane) {
      int64_t n = first_row + lane;
      const HostMatrix& part = PartOf(parts, n);
      if (part.is_quantized()) {
        for (int64_t k = k0; k < k1; ++k) {
          panel[k * kPanelLanes + lane] = QuantizedDwordAt(part, n, target, k);
        }
        continue;
      }
      const std::byte* row = part.data + n * part.cols * int64_t(BytesOf(part.dtype));
      for (int64_t k = k0; k < k1; ++k) {
        panel[k * kPanelLanes + lane] = DwordAt(row, part.dtype, cols, target, k);
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
      memory_(size_t(num_panels()) * panel_bytes()),
      scales_(dtype == DType::kInt8 ? size_t(num_panels()) * kPanelLanes : 0) {
  KERNELS_CHECK(rows_ > 0 && cols_ > 0);
  KERNELS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || IsQuantizedWeight(dtype));
  KERNELS_CHECK(dtype != DType::kInt8 || cols_ <= kInt8ColsMax);
  for (const HostMatrix& part : parts) KERNELS_CHECK(part.cols == cols_);
  pool.ParallelFor(num_panels(), [&](int64_t p, int) {
    const int64_t first = p * kPanelLanes;
    auto* out = reinterpret_cast<uint32_t*>(memory_.data() + size_t(p) * panel_bytes());
    if (dtype_ == DType::kInt8) return FillInt8Panel(parts, first, out);
    if (group() > 0) return FillInt4Panel(parts, first, reinterpret_cast<std::byte*>(out));
    FillPanel(parts, first, std::min<int64_t>(kPanelLanes, rows_ - first), cols_, dtype_, dwords_,
              out);
  });
}

void PackedMatrix::FillInt8Panel(std::span<const HostMatrix> parts, int64_t first_row,
                                 uint32_t* panel) {
  std::vector<float> values(cols_);
  std::vector<std::byte> bytes(dwords_ * 4);
  for (int64_t lane = 0; lane < std::min<int64_t>(kPanelLanes, rows_ - first_row); ++lane) {
    int64_t n = first_row + lane;
    const HostMatrix& part = PartOf(parts, n);
    scales_[size_t(first_row + lane)] = Int8Weight(part, n, values.data(), bytes.data());
    for (int64_t k = 0; k < dwords_; ++k) {
      uint32_t dword;
      std::memcpy(&dword, bytes.data() + k * 4, 4);
      panel[k * kPanelLanes + lane] = dword ^ 0x80808080u;  // 128 more, each byte
    }
  }
}

void PackedMatrix::FillInt4Panel(std::span<const HostMatrix> parts, int64_t first_row,
                                 std::byte* panel) {
  const int32_t whole = int32_t(group());
  float scratch[128];
  for (int64_t lane = 0; lane < std::min<int64_t>(kPanelLanes, rows_ - first_row); ++lane) {
    int64_t n = first_row + lane;
    const HostMatrix& part = PartOf(parts, n);
    for (int64_t g = 0; g < num_groups(); ++g) {
      uint8_t values[128] = {};
      const int32_t count = int32_t(std::min<int64_t>(whole, cols_ - g * whole));
      const Int4Scale scale = Int4Weight(part, n, g * whole, count, scratch, values);
      std::byte* at = panel + size_t(g) * group_bytes();
      for (int32_t k = 0; k < whole; k += 8) {
        for (int32_t i = 0; i < 4; ++i) {
          at[(k / 8 * kPanelLanes + lane) * 4 + i] =
              std::byte(values[k + i] | values[k + i + 4] << 4);
        }
      }
      std::byte* scales = at + whole / 8 * kPanelLanes * 4;
      std::memcpy(scales + lane * 4, &scale.scale, 4);
      scales[kPanelLanes * 4 + lane] = std::byte(scale.zero);
    }
  }
}

void PackedMatrix::UnpackInt4Row(int64_t n, float* out) const {
  const int64_t lane = n % kPanelLanes;
  for (int64_t k = 0; k < cols_; ++k) {
    const GroupView view = group_of(n / kPanelLanes, k / group());
    const int64_t in_group = k % group();
    const auto byte = uint32_t(view.packed[(in_group / 8 * kPanelLanes + lane) * 4 + in_group % 4]);
    const auto value = int32_t(in_group % 8 < 4 ? byte & 15u : byte >> 4);
    out[k] = float(value - view.zeros[lane]) * view.scales[lane];
  }
}

void PackedMatrix::UnpackInt8Row(int64_t n, float* out) const {
  const std::byte* from = panel(n / kPanelLanes) + n % kPanelLanes * 4;
  for (int64_t k = 0; k < cols_; ++k) {
    const auto byte = int32_t(from[k / 4 * kPanelLanes * 4 + k % 4]);
    out[k] = float(byte - kWeightZero) * scales_[size_t(n)];
  }
}

void PackedMatrix::UnpackRow(int64_t n, float* out) const {
  KERNELS_CHECK(n >= 0 && n < rows_);
  if (dtype_ == DType::kInt8) return UnpackInt8Row(n, out);
  if (group() > 0) return UnpackInt4Row(n, out);
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
