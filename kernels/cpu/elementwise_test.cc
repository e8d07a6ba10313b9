#include <gtest/gtest.h>

#include <cmath>

#include "kernels/activation_row.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/kv_row.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels {
namespace {

using testing::AvailableIsas;
using testing::Random;

// Normalisation, activation, rotation and the movement of rows.
class ElementwiseTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Backend> Make(int threads) {
    return MakeCpuBackend({.num_threads = threads, .isa = GetParam()});
  }
  std::unique_ptr<Backend> reference_ = MakeReferenceBackend();
  Random random_{1};
};

// What `op` makes of rows: out rows of `out_width`, from rows of `in_width`.
template <typename Op>
std::vector<float> Apply(const Op& op, const std::vector<float>& in, int32_t in_width,
                         int32_t out_width, DType dtype) {
  const int32_t tokens = int32_t(in.size()) / in_width;
  std::vector<std::byte> out(size_t(tokens) * size_t(out_width) * BytesOf(dtype));
  op(in.data(), tokens, out.data());
  return testing::Decode(out.data(), dtype, size_t(tokens) * size_t(out_width));
}

// A row keeps its bits whatever the batch and its place in it.
template <typename Op>
void ExpectRowsIndependent(const Op& op, Random& random, int32_t in_width, int32_t out_width) {
  const auto row = random.Floats(size_t(in_width), 3);
  const auto alone = Apply(op, row, in_width, out_width, DType::kF32);
  for (int tokens : {2, 5, 64, 333}) {
    auto batch = random.Floats(size_t(tokens) * size_t(in_width), 3);
    const int place = random.Int(0, tokens - 1);
    std::copy(row.begin(), row.end(), batch.begin() + place * in_width);
    const auto out = Apply(op, batch, in_width, out_width, DType::kF32);
    const auto at = out.begin() + place * out_width;
    ASSERT_TRUE(testing::SameBits(alone, {at, at + out_width})) << tokens;
  }
}

TEST_P(ElementwiseTest, RmsNormAgreesWithTheReferenceAndRowsAreIndependent) {
  for (int32_t hidden : {1, 7, 16, 33, 64, 100, 896, 4097}) {
    const auto weight = random_.Floats(size_t(hidden));
    const auto norm = [&](Backend& backend, DType dtype) {
      return [&backend, &weight, hidden, dtype](const float* x, int32_t tokens, void* out) {
        backend.RmsNorm(x, weight.data(), 1e-6f, tokens, hidden, dtype, out);
      };
    };
    const auto x = random_.Floats(size_t(hidden) * 9, 2);
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const auto got = Apply(norm(*Make(2), dtype), x, hidden, hidden, dtype);
      const auto want = Apply(norm(*reference_, dtype), x, hidden, hidden, dtype);
      EXPECT_LT(testing::RelativeError(got, want), dtype == DType::kF32 ? 1e-6 : 2e-3) << hidden;
    }
    for (int threads : {1, 3}) {
      auto backend = Make(threads);
      ExpectRowsIndependent(norm(*backend, DType::kF32), random_, hidden, hidden);
    }
  }
}

TEST_P(ElementwiseTest, SiluMulAgreesWithTheReferenceAndRowsAreIndependent) {
  for (int32_t inner : {1, 15, 16, 50, 688}) {
    const auto silu = [&](Backend& backend, DType dtype) {
      return [&backend, inner, dtype](const float* x, int32_t tokens, void* out) {
        backend.SiluMul(x, tokens, inner, dtype, out);
      };
    };
    auto x = random_.Floats(size_t(inner) * 2 * 7, 5);
    x[0] = -120;  // far out on both sides
    x[size_t(inner) * 2] = 120;
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const auto got = Apply(silu(*Make(2), dtype), x, 2 * inner, inner, dtype);
      const auto want = Apply(silu(*reference_, dtype), x, 2 * inner, inner, dtype);
      EXPECT_LT(testing::RelativeError(got, want), dtype == DType::kF32 ? 5e-7 : 2e-3) << inner;
      for (float v : got) EXPECT_TRUE(std::isfinite(v));
    }
    for (int threads : {1, 3}) {
      auto backend = Make(threads);
      ExpectRowsIndependent(silu(*backend, DType::kF32), random_, 2 * inner, inner);
    }
  }
}

TEST_P(ElementwiseTest, InInt8EveryOperationRoundsWhatItGivesInF32) {
  constexpr int32_t kWidth = 70, kTokens = 9, kBlock = 16;
  auto backend = Make(3);
  const auto x = random_.Floats(size_t(kTokens) * 2 * kWidth);
  const auto weight = random_.Floats(kWidth);
  const auto expect_rounded = [&](const char* what, int32_t width, const auto& op) {
    std::vector<float> exact(size_t(kTokens * width));
    std::vector<std::byte> got(size_t(kTokens) * ActivationRowBytes(DType::kInt8, width));
    op(DType::kF32, exact.data());
    op(DType::kInt8, got.data());
    EXPECT_TRUE(testing::SameBits(got, testing::EncodeRows(exact, DType::kInt8, width))) << what;
  };
  expect_rounded("norm", kWidth, [&](DType dtype, void* out) {
    backend->RmsNorm(x.data(), weight.data(), 1e-6f, kTokens, kWidth, dtype, out);
  });
  expect_rounded("silu", kWidth, [&](DType dtype, void* out) {
    backend->SiluMul(x.data(), kTokens, kWidth, dtype, out);
  });
  KvView kv{.base = nullptr,
            .dtype = DType::kF32,
            .num_layers = 1,
            .num_blocks = 1,
            .block_tokens = kBlock,
            .num_kv_heads = 1,
            .head_dim = 10};
  auto pool = random_.Floats(kv.pool_bytes() / 4);
  kv.base = reinterpret_cast<std::byte*>(pool.data());
  const int32_t table = 0;
  const std::vector<AttentionSequence> sequences = {{0, 4, 9, &table}, {4, kTokens - 4, 5, &table}};
  expect_rounded("attention", 20, [&](DType dtype, void* out) {
    backend->Attention(x.data(), kv, 0, 2, sequences, 0.3f, 0, dtype, out);
  });
}

TEST_P(ElementwiseTest, RoundsToTheNearestBf16AndKeepsNan) {
  auto x = random_.Floats(300, 100);
  x[7] = std::nanf("");
  x[8] = INFINITY;
  x[9] = std::bit_cast<float>(0x3f808000u);   // halfway: to even, down
  x[10] = std::bit_cast<float>(0x3f818000u);  // halfway: to even, up
  x[11] = std::bit_cast<float>(0x7fffffffu);  // a NaN whose mantissa would overflow
  const int32_t n = int32_t(x.size());
  std::vector<float> sin(size_t(n / 2), 0), cos(size_t(n / 2), 1);
  KvView kv{.base = nullptr,
            .dtype = DType::kBF16,
            .num_layers = 1,
            .num_blocks = 1,
            .block_tokens = 16,
            .num_kv_heads = n / 2,
            .head_dim = 2};
  std::vector<uint16_t> pool(kv.pool_bytes() / 2);
  kv.base = reinterpret_cast<std::byte*>(pool.data());
  const int32_t zero = 0;
  std::vector<float> qkv(2, 0), q(2);  // one query head, then x as keys and as values
  qkv.insert(qkv.end(), x.begin(), x.end());
  qkv.insert(qkv.end(), x.begin(), x.end());
  Make(1)->RopeAndWriteKv({.qkv = qkv.data(),
                           .num_tokens = 1,
                           .num_q_heads = 1,
                           .rope = {cos.data(), sin.data(), 1},
                           .positions = &zero,
                           .slots = &zero},
                          kv, 0, q.data());
  const size_t values = pool.size() / 2;
  for (size_t i = 0; i < x.size(); ++i) {
    const uint16_t got = pool[values + i / 2 * 32 + i % 2];
    EXPECT_EQ(got, Bf16FromF32(x[i])) << i << ": " << x[i];
  }
}

// Everything RopeAndWriteKv takes, for `tokens` tokens in random slots.
struct RopeWorld {
  RopeWorld(Random& random, int32_t head_dim, DType dtype, int32_t tokens, bool normalise)
      : kv{.base = nullptr,
           .dtype = dtype,
           .num_layers = 2,
           .num_blocks = 6,
           .block_tokens = 16,
           .num_kv_heads = 2,
           .head_dim = head_dim},
        num_tokens(tokens),
        qkv(random.Floats(size_t(tokens) * size_t(row()))),
        cos(random.Floats(size_t(50 * head_dim / 2))),
        sin(random.Floats(size_t(50 * head_dim / 2))) {
    if (normalise) norm = random.Floats(size_t(head_dim));
    std::vector<int32_t> free(size_t(kv.num_blocks * kv.block_tokens));
    for (size_t i = 0; i < free.size(); ++i) free[i] = int32_t(i);
    random.Shuffle(free);
    slots.assign(free.begin(), free.begin() + tokens);
    for (int32_t t = 0; t < tokens; ++t) positions.push_back(random.Int(0, 49));
  }

  int32_t row() const { return (3 + 2 * 2) * kv.head_dim; }

  // The rotated q of tokens [begin, end); the cache is written to `pool`.
  std::vector<float> Run(Backend& backend, std::vector<std::byte>& pool, int32_t begin,
                         int32_t end) const {
    pool.resize(kv.pool_bytes());
    KvView view = kv;
    view.base = pool.data();
    std::vector<float> q(size_t(end - begin) * 3 * size_t(kv.head_dim));
    const float* weight = norm.empty() ? nullptr : norm.data();
    backend.RopeAndWriteKv({.qkv = qkv.data() + begin * row(),
                            .num_tokens = end - begin,
                            .num_q_heads = 3,
                            .q_norm = weight,
                            .k_norm = weight,
                            .norm_epsilon = 1e-6f,
                            .rope = {cos.data(), sin.data(), 50},
                            .positions = positions.data() + begin,
                            .slots = slots.data() + begin},
                           view, 1, q.data());
    return q;
  }

  // What was written to a quantized pool, with the scales.
  std::vector<float> Rows(std::vector<std::byte>& pool) const {
    KvView view = kv;
    view.base = pool.data();
    std::vector<float> values;
    for (const int32_t slot : slots) {
      for (int32_t head = 0; head < 2 * kv.num_kv_heads; ++head) {
        const KvRow row = RowOf(view, 1, slot / kv.block_tokens, head / kv.num_kv_heads,
                                head % kv.num_kv_heads, slot % kv.block_tokens);
        for (int32_t d = 0; d < kv.head_dim; ++d) {
          values.push_back(LoadKvElement(row, kv.dtype, d));
        }
      }
    }
    return values;
  }

  KvView kv;
  int32_t num_tokens;
  std::vector<float> qkv, cos, sin, norm;
  std::vector<int32_t> positions, slots;
};

TEST_P(ElementwiseTest, RopeRotatesAndWritesEverySlotAsTheReferenceDoes) {
  for (int32_t head_dim : {2, 8, 20, 64, 128, 250, 256}) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      const RopeWorld world(random_, head_dim, dtype, 21, head_dim % 4 == 0);
      std::vector<std::byte> ours, theirs;
      const auto got = world.Run(*Make(2), ours, 0, 21);
      const auto want = world.Run(*reference_, theirs, 0, 21);
      EXPECT_LT(testing::RelativeError(got, want), 1e-6) << head_dim;
      const size_t count = ours.size() / BytesOf(dtype);
      EXPECT_LT(testing::RelativeError(testing::Decode(ours.data(), dtype, count),
                                       testing::Decode(theirs.data(), dtype, count)),
                dtype == DType::kF32 ? 1e-6 : 2e-3);
    }
  }
}

TEST_P(ElementwiseTest, QuantizedKvIsTheReferencesUpToARounding) {
  for (int32_t head_dim : {2, 20, 64, 256}) {
    for (DType dtype : {DType::kFp8, DType::kInt8}) {
      const RopeWorld world(random_, head_dim, dtype, 21, head_dim % 4 == 0);
      std::vector<std::byte> ours, theirs;
      world.Run(*Make(2), ours, 0, 21);
      world.Run(*reference_, theirs, 0, 21);
      const auto got = world.Rows(ours), want = world.Rows(theirs);
      EXPECT_LT(testing::RelativeError(got, want), dtype == DType::kFp8 ? 5e-3 : 1e-3) << head_dim;
    }
  }
}

TEST_P(ElementwiseTest, WidenedElementsAreExact) {
  const IsaOps& ops = *FindIsa(GetParam().c_str());
  std::vector<std::byte> bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(std::byte(i));
  for (DType dtype : {DType::kFp8, DType::kInt8}) {
    for (DType to : {DType::kF32, DType::kBF16}) {
      for (int64_t n : {1, 15, 16, 37, 256}) {
        std::vector<std::byte> out(size_t(n) * BytesOf(to));
        ops.widen_quantized(bytes.data(), dtype, n, to, out.data());
        const auto got = testing::Decode(out.data(), to, size_t(n));
        const auto want = testing::Decode(bytes.data(), dtype, size_t(n));
        for (size_t i = 0; i < size_t(n); ++i) {
          if (std::isnan(want[i])) continue;
          ASSERT_EQ(got[i], want[i]) << NameOf(dtype) << " " << i;
        }
      }
    }
  }
}

TEST_P(ElementwiseTest, RopeOfATokenDoesNotDependOnItsBatch) {
  const RopeWorld world(random_, 64, DType::kBF16, 60, true);
  std::vector<std::byte> whole_pool, pool;
  const auto whole = world.Run(*Make(1), whole_pool, 0, 60);
  for (int threads : {1, 2, 3}) {
    auto backend = Make(threads);
    std::vector<float> joined;
    pool.clear();
    for (int32_t begin = 0; begin < 60; begin += 13) {
      const auto part = world.Run(*backend, pool, begin, std::min(60, begin + 13));
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_TRUE(testing::SameBits(joined, whole));
    EXPECT_TRUE(testing::SameBits(pool, whole_pool));
  }
}

TEST_P(ElementwiseTest, VectorsAndCopiesKeepTheirValues) {
  auto backend = Make(2);
  const auto a = testing::RoundedTo(random_.Floats(13), DType::kBF16);
  const auto a_bytes = testing::Encode(a, DType::kBF16, 1),
             b_bytes = testing::Encode(a, DType::kF32, 3);
  Vector vector = backend->LoadVector({{testing::MatrixOf(a_bytes, DType::kBF16, 1, 13, 1),
                                        testing::MatrixOf(b_bytes, DType::kF32, 13, 1, 3)}});
  ASSERT_EQ(vector->size(), 26 * sizeof(float));
  for (size_t i = 0; i < 26; ++i) EXPECT_EQ(vector->as<float>()[i], a[i % 13]);

  std::vector<uint8_t> rows(10 * 7), out(3 * 7);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = uint8_t(i);
  const std::vector<int32_t> ids = {9, 0, 9};
  backend->GatherRows(rows.data(), ids, 7, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], rows[size_t(ids[i / 7]) * 7 + i % 7]);
}

TEST_P(ElementwiseTest, BuffersAreZeroedAndAligned) {
  auto backend = Make(1);
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{65}, size_t{3} << 20, (size_t{2} << 20) + 1}) {
    auto buffer = backend->Allocate(bytes);
    EXPECT_EQ(buffer->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(buffer->data()[i], std::byte{0});
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, ElementwiseTest, ::testing::ValuesIn(AvailableIsas()));

TEST(CpuBackendTest, NamesItsInstructionSetAndRefusesAnUnknownOne) {
  EXPECT_EQ(MakeCpuBackend({.num_threads = 1, .isa = "avx1024"}), nullptr);
  for (const std::string& isa : AvailableIsas()) {
    EXPECT_EQ(MakeCpuBackend({.num_threads = 1, .isa = isa})->name(), "cpu:" + isa);
  }
}

}  // namespace
}  // namespace baton::kernels
