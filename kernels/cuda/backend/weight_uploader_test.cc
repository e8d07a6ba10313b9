#include "kernels/cuda/backend/weight_uploader.h"

#include <gmock/gmock.h>

#include <cstring>

#include "kernels/convert.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Encode;
using kernels::testing::Random;

std::vector<std::byte> FromDevice(const void* device, size_t bytes) {
  std::vector<std::byte> host(bytes);
  Stream stream;
  EXPECT_EQ(CreateStream(&stream).value_or(""), "");
  EXPECT_EQ(CopyOut(device, host.data(), bytes, stream).value_or(""), "");
  EXPECT_EQ(Wait(stream).value_or(""), "");
  DestroyStream(stream);
  return host;
}

// One element after the other.
std::vector<std::byte> Expected(std::span<const HostMatrix> parts, DType target) {
  std::vector<std::byte> all;
  for (const HostMatrix& part : parts) {
    const size_t begin = all.size();
    all.resize(begin + size_t(part.rows * part.cols) * BytesOf(target));
    for (int64_t i = 0; i < part.rows * part.cols; ++i) {
      const float value = LoadElement(part.data, part.dtype, i);
      StoreElement(all.data() + begin, target, i, value);
    }
  }
  return all;
}

std::vector<std::byte> Uploaded(const WeightUploader::Options& options,
                                std::span<const HostMatrix> parts, DType target) {
  std::unique_ptr<WeightUploader> uploader;
  EXPECT_EQ(WeightUploader::Create(options, &uploader).value_or(""), "");
  const size_t bytes = Expected(parts, target).size();
  void* device = nullptr;
  EXPECT_EQ(AllocateDevice(bytes, &device).value_or(""), "");
  EXPECT_EQ(uploader->Upload(parts, target, static_cast<std::byte*>(device)).value_or(""), "");
  EXPECT_EQ(uploader->Wait().value_or(""), "");
  const auto got = FromDevice(device, bytes);
  FreeDevice(device);
  return got;
}

TEST(WeightUploaderTest, EveryElementArrivesAsItIsConvertedAlone) {
  Random random(3);
  const auto values = random.Floats(37 * 50);
  for (const DType from : {DType::kF32, DType::kBF16}) {
    const auto bytes = Encode(values, from, /*skew=*/1);
    const HostMatrix whole = {bytes.data() + 1, from, 37, 50};
    const HostMatrix parts[] = {whole, {whole.data + 7 * BytesOf(from), from, 3, 50}, whole};
    for (const DType to : {DType::kF32, DType::kBF16}) {
      const auto expected = Expected(parts, to);
      for (const int threads : {1, 3}) {
        for (const size_t chunk : {size_t{4}, size_t{60}, size_t{1} << 20}) {
          EXPECT_EQ(Uploaded({.num_threads = threads, .chunk_bytes = chunk}, parts, to), expected)
              << threads << " threads, chunks of " << chunk;
        }
      }
    }
  }
}

TEST(WeightUploaderTest, HalfPrecisionIsRoundedLikeEverywhere) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = uint16_t(i);
  const HostMatrix part = {reinterpret_cast<const std::byte*>(halves.data()), DType::kF16, 256,
                           256};
  for (const DType to : {DType::kF32, DType::kBF16}) {
    EXPECT_EQ(Uploaded({.num_threads = 2}, {&part, 1}, to), Expected({&part, 1}, to));
  }
}

TEST(WeightUploaderTest, NothingIsUploadedOfNothing) {
  EXPECT_TRUE(Uploaded({.num_threads = 2}, {}, DType::kF32).empty());
}

}  // namespace
}  // namespace baton::kernels::cuda
