#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels {

// A weight [N, K] as panels of 32 outputs: [ceil(N / 32)][k][32] dwords, where a dword is one f32,
// the pair (2 i, 2 i + 1) of bf16 or four bytes (first ones low). Bytes are int8 + kWeightZero, and
// the scales of their outputs lie apart. Missing outputs and a row's missing last partners are
// worth zero. One layout serves single rows, large batches and the gather of embeddings.
class PackedMatrix final : public Matrix {
 public:
  PackedMatrix(std::span<const HostMatrix> parts, DType dtype, ThreadPool& pool);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return memory_.size() + scales_.size() * sizeof(float); }

  DType dtype() const { return dtype_; }
  int64_t dwords() const { return dwords_; }  // per output
  int64_t num_panels() const { return (rows_ + kPanelLanes - 1) / kPanelLanes; }
  size_t panel_bytes() const {
    if (group() > 0) return size_t(num_groups()) * group_bytes();
    return size_t(dwords_) * kPanelLanes * 4;
  }
  // Of int4. A panel is then, group after group,
  //
  //   [group / 8][32] dwords of eight: bytes of four inputs, and of the next four in their upper
  //   halves; [32] scales in f32; [32] zeros in a byte
  //
  // with the last group as long as the others, and dwords() counts four inputs each as in int8.
  int64_t group() const { return GroupOf(dtype_); }
  int64_t num_groups() const { return (cols_ + group() - 1) / group(); }
  size_t group_bytes() const { return size_t(group()) / 8 * kPanelLanes * 4 + kPanelLanes * 5; }
  struct GroupView {
    const std::byte* packed;
    const float* scales;
    const uint8_t* zeros;
  };
  GroupView group_of(int64_t panel_index, int64_t group_index) const {
    const std::byte* at = panel(panel_index) + size_t(group_index) * group_bytes();
    const std::byte* scales = at + size_t(group()) / 8 * kPanelLanes * 4;
    return {at, reinterpret_cast<const float*>(scales),
            reinterpret_cast<const uint8_t*>(scales + kPanelLanes * 4)};
  }
  const std::byte* panel(int64_t index) const {
    return memory_.data() + size_t(index) * panel_bytes();
  }
  // Of 32 outputs; of int8 only.
  const float* scales(int64_t panel_index) const {
    return scales_.data() + panel_index * kPanelLanes;
  }
  // Row `n` as f32.
  void UnpackRow(int64_t n, float* out) const;

 private:
  void FillInt8Panel(std::span<const HostMatrix> parts, int64_t first_row, uint32_t* panel);
  void FillInt4Panel(std::span<const HostMatrix> parts, int64_t first_row, std::byte* panel);
  void UnpackInt8Row(int64_t n, float* out) const;
  void UnpackInt4Row(int64_t n, float* out) const;

  int64_t rows_;
  int64_t cols_;
  DType dtype_;
  int64_t dwords_;
  CpuMemory memory_;
  std::vector<float> scales_;  // [panel][32], of int8
};

}  // namespace baton::kernels
