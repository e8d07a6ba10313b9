#include "kernels/cuda/backend/weight_uploader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/convert.h"

namespace baton::kernels::cuda {
namespace {

// Below this a piece is not worth another thread.
constexpr int64_t kPieceBytesMin = 256 << 10;

// With both types known when it is compiled, the loop is a vector's.
template <DType kFrom, DType kTo>
void ConvertAs(const std::byte* from, int64_t count, std::byte* to) {
  for (int64_t i = 0; i < count; ++i) StoreElement(to, kTo, i, LoadElement(from, kFrom, i));
}

template <DType kTo>
void ConvertTo(const std::byte* from, DType dtype, int64_t count, std::byte* to) {
  switch (dtype) {
    case DType::kF32:
      return ConvertAs<DType::kF32, kTo>(from, count, to);
    case DType::kF16:
      return ConvertAs<DType::kF16, kTo>(from, count, to);
    case DType::kBF16:
      return ConvertAs<DType::kBF16, kTo>(from, count, to);
    default:
      KERNELS_CHECK(!"weights are f32, f16 or bf16");
  }
}

void Convert(const std::byte* from, DType dtype, int64_t count, DType target, std::byte* to) {
  if (dtype == target) {
    std::memcpy(to, from, size_t(count) * BytesOf(dtype));
  } else if (target == DType::kF32) {
    ConvertTo<DType::kF32>(from, dtype, count, to);
  } else {
    ConvertTo<DType::kBF16>(from, dtype, count, to);
  }
}

Error Named(std::string_view tensor, const Error& error) {
  if (!error || tensor.empty()) return error;
  return "tensor " + std::string(tensor) + ": " + *error;
}

}  // namespace

Error WeightUploader::Create(const Options& options, std::unique_ptr<WeightUploader>* uploader) {
  KERNELS_CHECK(options.num_threads > 0 && options.chunk_bytes >= sizeof(float));
  std::unique_ptr<WeightUploader> made(new WeightUploader(options));
  if (Error error = made->Prepare()) return error;
  *uploader = std::move(made);
  return std::nullopt;
}

Error WeightUploader::Prepare() {
  chunks_.reserve(size_t(options_.num_threads) * kChunksEach);
  while (chunks_.size() < chunks_.capacity()) {
    void* host = nullptr;
    Stream stream;
    if (Error error = AllocatePinned(options_.chunk_bytes, &host)) {
      return *error + ", for " + std::to_string(chunks_.capacity()) + " chunks of " +
             std::to_string(options_.chunk_bytes) + " bytes to load weights by";
    }
    if (Error error = CreateStream(&stream)) {
      FreePinned(host);
      return error;
    }
    chunks_.push_back({.host = static_cast<std::byte*>(host), .stream = stream, .tensor = ""});
  }
  for (int thread = 0; thread < options_.num_threads; ++thread) {
    threads_.emplace_back([this, thread] { Loop(thread); });
  }
  return std::nullopt;
}

WeightUploader::~WeightUploader() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  (void)Wait();
  for (Chunk& chunk : chunks_) {
    DestroyStream(chunk.stream);
    FreePinned(chunk.host);
  }
}

// Pieces no larger than a chunk, and so many that no thread is without one for long.
std::vector<WeightUploader::Piece> WeightUploader::Cut(std::span<const HostMatrix> parts,
                                                       DType target, std::byte* to) const {
  const int64_t element = int64_t(BytesOf(target));
  int64_t total = 0;
  for (const HostMatrix& part : parts) total += part.rows * part.cols * element;
  const int64_t even = total / (int64_t{kChunksEach} * options_.num_threads);
  const int64_t bytes = std::min(std::max(even, kPieceBytesMin), int64_t(options_.chunk_bytes));
  const int64_t step = std::max<int64_t>(1, bytes / element);
  std::vector<Piece> pieces;
  for (const HostMatrix& part : parts) {
    const int64_t count = part.rows * part.cols;
    for (int64_t begin = 0; begin < count; begin += step) {
      pieces.push_back({&part, begin, std::min(count, begin + step), to + begin * element});
    }
    to += count * element;
  }
  return pieces;
}

Error WeightUploader::Upload(std::span<const HostMatrix> parts, DType target, std::byte* to) {
  KERNELS_CHECK(target == DType::kF32 || target == DType::kBF16);
  for (const HostMatrix& part : parts) KERNELS_CHECK(!part.is_quantized());
  std::vector<Piece> pieces = Cut(parts, target, to);
  std::unique_lock lock(mutex_);
  pieces_ = std::move(pieces);
  target_ = target;
  taken_ = 0;
  unread_ = pieces_.size();
  error_.reset();
  work_.notify_all();
  read_.wait(lock, [this] { return unread_ == 0; });
  if (!error_) return std::nullopt;
  (void)Wait();  // the caller may free what others still copy to
  return error_;
}

Error WeightUploader::Wait() {
  Error first = UseDevice(options_.device);
  for (Chunk& chunk : chunks_) {
    const Error error = WaitFor(chunk);
    if (!first) first = error;
  }
  return first;
}

void WeightUploader::Loop(int thread) {
  Chunk* const mine = &chunks_[size_t(thread) * kChunksEach];
  const Error unusable = UseDevice(options_.device);
  size_t turn = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopping_ || taken_ < pieces_.size(); });
    if (stopping_) return;
    const Piece piece = pieces_[taken_++];
    const DType target = target_;
    // After a failure nothing more is sent, so that it is told at once.
    Error error = unusable;
    if (!error && !error_) {
      lock.unlock();
      error = Send(piece, target, mine[turn++ % kChunksEach]);
      lock.lock();
    }
    if (error && !error_) error_ = std::move(error);
    if (--unread_ == 0) read_.notify_one();
  }
}

Error WeightUploader::Send(const Piece& piece, DType target, Chunk& chunk) {
  if (Error error = WaitFor(chunk)) return error;
  const HostMatrix& part = *piece.part;
  Convert(part.data + piece.begin * int64_t(BytesOf(part.dtype)), part.dtype,
          piece.end - piece.begin, target, chunk.host);
  chunk.tensor = part.name.empty() ? "a weight" : part.name;
  const size_t bytes = size_t(piece.end - piece.begin) * BytesOf(target);
  return Named(part.name, CopyIn(chunk.host, piece.to, bytes, chunk.stream));
}

Error WeightUploader::WaitFor(Chunk& chunk) {
  if (chunk.tensor.empty()) return std::nullopt;
  const std::string tensor = std::exchange(chunk.tensor, "");
  return Named(tensor, cuda::Wait(chunk.stream));
}

}  // namespace baton::kernels::cuda
