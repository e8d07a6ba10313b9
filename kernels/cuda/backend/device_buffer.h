#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {

// Device memory that is freed with this. Multiples of 256 bytes.
class DeviceBuffer final : public Buffer {
 public:
  explicit DeviceBuffer(void* memory, size_t bytes)
      : data_(static_cast<std::byte*>(memory)), bytes_(bytes) {}
  ~DeviceBuffer() override { FreeDevice(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  std::byte* data() override { return data_; }
  size_t size() const override { return bytes_; }

 private:
  std::byte* data_;
  size_t bytes_;
};

// A weight as it lies in a checkpoint: [rows][cols] of f32 or bf16.
class DeviceMatrix final : public Matrix {
 public:
  DeviceMatrix(std::unique_ptr<Buffer> memory, DType dtype, int64_t rows, int64_t cols)
      : memory_(std::move(memory)), dtype_(dtype), rows_(rows), cols_(cols) {}

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return memory_->size(); }
  DType dtype() const { return dtype_; }
  const std::byte* data() const { return memory_->data(); }

 private:
  std::unique_ptr<Buffer> memory_;
  DType dtype_;
  int64_t rows_;
  int64_t cols_;
};

}  // namespace baton::kernels::cuda
