#pragma once

#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels {

// A weight [N, K] as panels of 32 outputs: [ceil(N / 32)][k][32] dwords, where a dword is one f32
// or the pair (2 i, 2 i + 1) of bf16 (low half first). Missing outputs and an odd K's last partner
// are zeros. One layout serves single rows, large batches and the gather of embeddings.
class PackedMatrix final : public Matrix {
 public:
  PackedMatrix(std::span<const HostMatrix> parts, DType dtype, ThreadPool& pool);

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return memory_.size(); }

  DType dtype() const { return dtype_; }
  int64_t dwords() const { return dwords_; }  // per output
  int64_t num_panels() const { return (rows_ + kPanelLanes - 1) / kPanelLanes; }
  size_t panel_bytes() const { return size_t(dwords_) * kPanelLanes * 4; }
  const std::byte* panel(int64_t index) const {
    return memory_.data() + size_t(index) * panel_bytes();
  }
  // Row `n` as f32.
  void UnpackRow(int64_t n, float* out) const;

 private:
  int64_t rows_;
  int64_t cols_;
  DType dtype_;
  int64_t dwords_;
  CpuMemory memory_;
};

}  // namespace baton::kernels
