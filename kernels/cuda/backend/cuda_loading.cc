#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "kernels/convert.h"
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

// Half of the staging memory at a time, so that one half is filled while the other is copied.
void CudaBackend::UploadAs(const HostMatrix& part, DType target, std::byte* to) {
  const int64_t count = part.rows * part.cols;
  const int64_t piece = int64_t(staging_.bytes() / 2 / BytesOf(target));
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t end = std::min(count, begin + piece);
    const size_t bytes = size_t(end - begin) * BytesOf(target);
    const Staging::Room room = TakeRoom(bytes);
    if (part.dtype == target) {
      std::memcpy(room.host, part.data + size_t(begin) * BytesOf(target), bytes);
    } else {
      for (int64_t i = begin; i < end; ++i) {
        StoreElement(room.host, target, i - begin, LoadElement(part.data, part.dtype, i));
      }
    }
    Expect(CopyIn(room.host, to + size_t(begin) * BytesOf(target), bytes, stream()));
  }
}

std::unique_ptr<Matrix> CudaBackend::LoadMatrix(std::span<const HostMatrix> parts, DType target) {
  const StackedShape shape = ShapeOf(parts);
  auto memory = Allocate(size_t(shape.rows * shape.cols) * BytesOf(target));
  std::byte* to = memory->data();
  for (const HostMatrix& part : parts) {
    UploadAs(part, target, to);
    to += size_t(part.rows * part.cols) * BytesOf(target);
  }
  Synchronize();
  return std::make_unique<DeviceMatrix>(std::move(memory), target, shape.rows, shape.cols);
}

Vector CudaBackend::LoadVector(std::span<const HostMatrix> parts) {
  size_t count = 0;
  for (const HostMatrix& part : parts) count += size_t(part.rows * part.cols);
  Vector vector = Allocate(count * sizeof(float));
  std::byte* to = vector->data();
  for (const HostMatrix& part : parts) {
    UploadAs(part, DType::kF32, to);
    to += size_t(part.rows * part.cols) * sizeof(float);
  }
  Synchronize();
  return vector;
}

}  // namespace baton::kernels::cuda
