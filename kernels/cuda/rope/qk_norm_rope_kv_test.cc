#include "kernels/cuda/rope/qk_norm_rope_kv.h"

#include <cmath>
#include <limits>

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/cuda/testing/kv_pool.h"
#include "kernels/kv_row.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Decode;
using kernels::testing::Random;
using kernels::testing::RelativeError;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;
using testing::KvPool;

constexpr int32_t kPositions = 40, kTokens = 6;

struct Shape {
  int32_t num_q_heads, num_kv_heads, head_dim;
  bool norm;
  DType dtype;
};

// One call's data on both sides.
struct Call {
  Call(const Shape& shape, uint64_t seed)
      : shape(shape),
        random(seed),
        qkv(random.Floats(kTokens * size_t(shape.num_q_heads + 2 * shape.num_kv_heads) * dim())),
        q_norm(random.Floats(dim())),
        k_norm(random.Floats(dim())),
        cos(random.Floats(kPositions * dim() / 2)),
        sin(random.Floats(kPositions * dim() / 2)),
        pool({.dtype = shape.dtype,
              .num_layers = 2,
              .num_blocks = 3,
              .block_tokens = 16,
              .num_kv_heads = shape.num_kv_heads,
              .head_dim = shape.head_dim}) {
    slots = {17, 3, 47, 0, 31, 16};
    for (int32_t t = 0; t < kTokens; ++t) positions.push_back(random.Int(0, kPositions - 1));
  }
  size_t dim() const { return size_t(shape.head_dim); }

  std::vector<float> Want() {
    std::vector<float> q(kTokens * size_t(shape.num_q_heads) * dim());
    const QkvArgs args = {.qkv = qkv.data(),
                          .num_tokens = kTokens,
                          .num_q_heads = shape.num_q_heads,
                          .q_norm = shape.norm ? q_norm.data() : nullptr,
                          .k_norm = shape.norm ? k_norm.data() : nullptr,
                          .norm_epsilon = 1e-6f,
                          .rope = {cos.data(), sin.data(), kPositions},
                          .positions = positions.data(),
                          .slots = slots.data()};
    MakeReferenceBackend()->RopeAndWriteKv(args, pool.host(), 1, q.data());
    return q;
  }

  std::vector<float> Got(const std::vector<int32_t>& device_slots) {
    DeviceArray<float> d_qkv(qkv), d_q_norm(q_norm), d_k_norm(k_norm), d_cos(cos), d_sin(sin);
    DeviceArray<int32_t> d_positions(positions), d_slots(device_slots);
    DeviceArray<float> q(kTokens * size_t(shape.num_q_heads) * dim());
    ExpectRuns(QkNormRopeKvArgs{.qkv = {.qkv = d_qkv.data(),
                                        .num_tokens = kTokens,
                                        .num_q_heads = shape.num_q_heads,
                                        .q_norm = shape.norm ? d_q_norm.data() : nullptr,
                                        .k_norm = shape.norm ? d_k_norm.data() : nullptr,
                                        .norm_epsilon = 1e-6f,
                                        .rope = {d_cos.data(), d_sin.data(), kPositions},
                                        .positions = d_positions.data(),
                                        .slots = d_slots.data()},
                                .kv = pool.device(),
                                .layer = 1,
                                .q_out = q.data()});
    return q.ToHost();
  }

  Shape shape;
  Random random;
  std::vector<float> qkv, q_norm, k_norm, cos, sin;
  std::vector<int32_t> positions, slots;
  KvPool pool;
};

// Written elements agree, the others are untouched on both sides.
void ExpectSamePool(KvPool& pool, double tolerance) {
  const DType dtype = pool.host().dtype;
  const size_t count = pool.host_bytes().size() / BytesOf(dtype);
  auto want = Decode(pool.host_bytes().data(), dtype, count);
  auto got = Decode(pool.DeviceBytesNow().data(), dtype, count);
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(std::isnan(want[i]), std::isnan(got[i])) << "element " << i;
    if (std::isnan(want[i])) want[i] = got[i] = 0;
  }
  EXPECT_LT(RelativeError(got, want), tolerance);
}

TEST(CudaQkNormRopeKvTest, EqualsTheReference) {
  InEveryOrder([] {
    const Shape shapes[] = {{4, 2, 64, false, DType::kF32},  {3, 1, 96, true, DType::kBF16},
                            {8, 2, 128, true, DType::kF32},  {2, 2, 128, false, DType::kBF16},
                            {2, 1, 256, true, DType::kBF16}, {1, 1, 8, true, DType::kF32}};
    for (const Shape& shape : shapes) {
      SCOPED_TRACE("head_dim " + std::to_string(shape.head_dim));
      Call call(shape, 5);
      const auto want = call.Want();
      EXPECT_LT(RelativeError(call.Got(call.slots), want), 1e-5);
      ExpectSamePool(call.pool, shape.dtype == DType::kF32 ? 1e-5 : 2e-3);
    }
  });
}

// Elements that a rounding before puts on the other side of a step may differ by one; almost none
// do.
TEST(CudaQkNormRopeKvTest, QuantizesAsTheReferenceDoes) {
  InEveryOrder([] {
    for (const DType dtype : {DType::kFp8, DType::kInt8}) {
      for (const int32_t head_dim : {8, 64, 128, 256}) {
        Call call({3, 2, head_dim, head_dim % 128 == 0, dtype}, 5);
        const auto want_q = call.Want();
        EXPECT_LT(RelativeError(call.Got(call.slots), want_q), 1e-5);
        auto got = call.pool.DeviceBytesNow();
        KvView device = call.pool.host();
        device.base = got.data();
        std::vector<float> on_device, on_host;
        for (int32_t row = 0; row < kTokens * 4; ++row) {
          const int32_t slot = call.slots[size_t(row / 4)];
          const auto of = [&](const KvView& kv) {
            return RowOf(kv, 1, slot / 16, row % 2, row / 2 % 2, slot % 16);
          };
          for (int32_t d = 0; d < head_dim; ++d) {
            on_device.push_back(LoadKvElement(of(device), dtype, d));
            on_host.push_back(LoadKvElement(of(call.pool.host()), dtype, d));
          }
        }
        EXPECT_LT(RelativeError(on_device, on_host), 2e-3) << NameOf(dtype) << " " << head_dim;
      }
    }
  });
}

TEST(CudaQkNormRopeKvTest, QuantizedRowsThatAreNoNumbersHaveNoScale) {
  Call call({1, 1, 64, false, DType::kInt8}, 5);
  call.qkv[2 * 64 + 5] = std::numeric_limits<float>::infinity();  // of the first token's value
  (void)call.Got(call.slots);
  auto bytes = call.pool.DeviceBytesNow();
  KvView device = call.pool.host();
  device.base = bytes.data();
  EXPECT_TRUE(std::isnan(*RowOf(device, 1, 1, 1, 0, 1).scale));
  EXPECT_FALSE(std::isnan(*RowOf(device, 1, 1, 0, 0, 1).scale));
}

TEST(CudaQkNormRopeKvTest, RowsWithoutASlotWriteNoKv) {
  Call call({2, 1, 64, false, DType::kF32}, 6);
  const auto before = call.pool.DeviceBytesNow();
  const auto want = call.Want();
  EXPECT_LT(RelativeError(call.Got(std::vector<int32_t>(kTokens, -1)), want), 1e-5);
  EXPECT_EQ(call.pool.DeviceBytesNow(), before);
}

}  // namespace
}  // namespace baton::kernels::cuda
