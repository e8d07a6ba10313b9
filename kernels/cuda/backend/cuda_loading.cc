#include <algorithm>
#include <string>
#include <thread>

#include "kernels/check.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/backend/device_buffer.h"

namespace baton::kernels::cuda {

StackedShape ShapeOf(std::span<const HostMatrix> parts) {
  StackedShape shape;
  for (const HostMatrix& part : parts) {
    KERNELS_CHECK(shape.rows == 0 || part.cols == shape.cols);
    shape.rows += part.rows;
    shape.cols = part.cols;
  }
  return shape;
}

std::unique_ptr<Buffer> CudaBackend::Allocate(size_t bytes) {
  const Stream on = stream();
  void* memory = nullptr;
  Error error = AllocateDevice(std::max<size_t>(bytes, 1), &memory);
  if (error) Expect(*error + ", for " + std::to_string(bytes) + " bytes of device memory");
  auto buffer = std::make_unique<DeviceBuffer>(memory, bytes);
  if (bytes > 0) Expect(FillZero(buffer->data(), bytes, on));
  Expect(Wait(on));
  return buffer;
}

// Weights are written whole: their memory need not be zeros first.
std::unique_ptr<Buffer> CudaBackend::UploadParts(std::span<const HostMatrix> parts, DType target) {
  int64_t count = 0;
  for (const HostMatrix& part : parts) count += part.rows * part.cols;
  const size_t bytes = size_t(count) * BytesOf(target);
  const std::string tensor = "tensor " + std::string(parts.empty() ? "" : parts.front().name);
  Expect(UseDevice(options_.device));
  void* memory = nullptr;
  if (const Error error = AllocateDevice(std::max<size_t>(bytes, 1), &memory)) {
    Expect(tensor + ": " + *error + ", for " + std::to_string(bytes) + " bytes of device memory");
  }
  auto buffer = std::make_unique<DeviceBuffer>(memory, bytes);
  if (uploads_ == nullptr) {
    Expect(WeightUploader::Create({.device = options_.device,
                                   .num_threads = UploadThreads(),
                                   .chunk_bytes = options_.upload_chunk_bytes},
                                  &uploads_));
  }
  Expect(uploads_->Upload(parts, target, buffer->data()));
  return buffer;
}

int CudaBackend::UploadThreads() const {
  if (options_.upload_threads > 0) return options_.upload_threads;
  // More do not read faster than a GPU takes.
  return std::clamp(int(std::thread::hardware_concurrency()), 1, 8);
}

void CudaBackend::FinishUploads() {
  const Error error = uploads_->Wait();
  uploads_.reset();
  Expect(error);
}

std::unique_ptr<Matrix> CudaBackend::LoadMatrix(std::span<const HostMatrix> parts, DType target) {
  const StackedShape shape = ShapeOf(parts);
  return std::make_unique<DeviceMatrix>(UploadParts(parts, target), target, shape.rows, shape.cols);
}

Vector CudaBackend::LoadVector(std::span<const HostMatrix> parts) {
  return UploadParts(parts, DType::kF32);
}

}  // namespace baton::kernels::cuda
