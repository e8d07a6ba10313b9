#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/backend.h"
#include "kernels/kv_row.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels {
namespace {

using testing::AvailableIsas;
using testing::Random;

struct Shape {
  int32_t num_q_heads, num_kv_heads, head_dim, block_tokens, window;
};

// A cache with one sequence of `context` tokens in shuffled blocks, q for every position, and the
// attention of any run of positions over it. Slots behind the context hold NaN: nobody may read
// them.
class World {
 public:
  World(const Shape& shape, DType dtype, int32_t context, uint64_t seed)
      : shape_(shape), context_(context), random_(seed) {
    const int32_t blocks = (context + shape.block_tokens - 1) / shape.block_tokens;
    kv_ = {.dtype = dtype,
           .num_layers = 2,
           .num_blocks = blocks + 3,
           .block_tokens = shape.block_tokens,
           .num_kv_heads = shape.num_kv_heads,
           .head_dim = shape.head_dim};
    table_.resize(size_t(blocks));
    std::iota(table_.begin(), table_.end(), 2);
    random_.Shuffle(table_);
    pool_.assign(kv_.pool_bytes(), std::byte(0xff));  // a NaN, or a row whose scale is one
    kv_.base = pool_.data();
    for (int32_t t = 0; t < context; ++t) FillToken(t);
    q_ = random_.Floats(size_t(context) * row());
  }

  size_t row() const { return size_t(shape_.num_q_heads) * size_t(shape_.head_dim); }
  int32_t context() const { return context_; }

  // Rows of positions [begin, end), computed in one call.
  std::vector<float> Attend(Backend& backend, int32_t begin, int32_t end, DType out = DType::kF32) {
    return AttendMany(backend, {{begin, end}}, out);
  }

  // Several runs of positions as the sequences of one batch, in a ragged q.
  std::vector<float> AttendMany(Backend& backend,
                                const std::vector<std::pair<int32_t, int32_t>>& runs,
                                DType out_dtype = DType::kF32) {
    std::vector<float> q;
    std::vector<AttentionSequence> sequences;
    for (const auto& [begin, end] : runs) {
      sequences.push_back({.query_begin = int32_t(q.size() / row()),
                           .query_tokens = end - begin,
                           .context_tokens = end,
                           .block_table = table_.data()});
      q.insert(q.end(), q_.begin() + int64_t(begin * row()), q_.begin() + int64_t(end * row()));
    }
    std::vector<std::byte> out(q.size() * BytesOf(out_dtype));
    backend.Attention(q.data(), kv_, 1, shape_.num_q_heads, sequences,
                      1 / std::sqrt(float(shape_.head_dim)), shape_.window, out_dtype, out.data());
    return testing::Decode(out.data(), out_dtype, q.size());
  }

 private:
  void FillToken(int32_t t) {
    for (int part = 0; part < 2; ++part) {
      for (int32_t head = 0; head < kv_.num_kv_heads; ++head) {
        const std::vector<float> row = random_.Floats(size_t(kv_.head_dim));
        StoreKvRow(
            RowOf(kv_, 1, table_[size_t(t / kv_.block_tokens)], part, head, t % kv_.block_tokens),
            kv_.dtype, row.data(), kv_.head_dim);
      }
    }
  }

  Shape shape_;
  int32_t context_;
  Random random_;
  KvView kv_;
  std::vector<int32_t> table_;
  std::vector<std::byte> pool_;
  std::vector<float> q_;
};

const Shape kShapes[] = {{4, 2, 64, 16, 0},  {14, 2, 64, 32, 0},   {3, 3, 20, 16, 0},
                         {8, 1, 128, 64, 0}, {4, 4, 8, 16, 0},     {6, 2, 96, 32, 0},
                         {2, 1, 256, 16, 0}, {14, 2, 64, 16, 100}, {4, 2, 16, 64, 7},
                         {5, 1, 80, 16, 1},  {32, 4, 40, 32, 64}};

class AttentionTest : public ::testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  std::unique_ptr<Backend> Make(int threads) {
    return MakeCpuBackend({.num_threads = threads, .isa = std::get<0>(GetParam())});
  }
  DType dtype() const { return std::get<1>(GetParam()); }
  // Weights and q are rounded to bf16 where bf16 pairs are multiplied.
  double tolerance() const {
    return dtype() != DType::kF32 && std::get<0>(GetParam()) == "avx512_bf16" ? 8e-3 : 2e-6;
  }
};

TEST_P(AttentionTest, AgreesWithTheReferenceOnOddShapes) {
  auto backend = Make(2);
  auto reference = MakeReferenceBackend();
  for (const Shape& shape : kShapes) {
    World world(shape, dtype(), 100, 1);
    EXPECT_LT(
        testing::RelativeError(world.Attend(*backend, 0, 100), world.Attend(*reference, 0, 100)),
        tolerance())
        << shape.num_q_heads << "/" << shape.num_kv_heads << " D " << shape.head_dim;
  }
}

TEST_P(AttentionTest, LongContextsAreMergedFromSplits) {
  auto backend = Make(2);
  auto reference = MakeReferenceBackend();
  for (int32_t window : {0, 1500}) {
    World world({4, 2, 32, 32, window}, dtype(), 2500, 2);
    for (const auto& [begin, end] : {std::pair{2499, 2500}, {1020, 1028}, {2040, 2056}}) {
      EXPECT_LT(testing::RelativeError(world.Attend(*backend, begin, end),
                                       world.Attend(*reference, begin, end)),
                tolerance());
    }
  }
}

TEST_P(AttentionTest, ChunksBatchesAndThreadsDoNotChangeABit) {
  for (const Shape& shape : kShapes) {
    World world(shape, dtype(), 140, 3);
    const std::vector<float> whole = world.Attend(*Make(1), 0, 140);
    for (int threads : {1, 3}) {
      auto backend = Make(threads);
      for (int32_t chunk : {1, 7, 64, 140}) {
        std::vector<std::pair<int32_t, int32_t>> runs;
        for (int32_t begin = 0; begin < 140; begin += chunk) {
          runs.emplace_back(begin, std::min(140, begin + chunk));
        }
        // All chunks side by side as one batch, and one after another.
        ASSERT_TRUE(testing::SameBits(world.AttendMany(*backend, runs), whole)) << chunk;
        std::vector<float> joined;
        for (const auto& [begin, end] : runs) {
          const auto part = world.Attend(*backend, begin, end);
          joined.insert(joined.end(), part.begin(), part.end());
        }
        ASSERT_TRUE(testing::SameBits(joined, whole)) << chunk;
      }
    }
  }
}

TEST_P(AttentionTest, ADecodeRowInALongContextHasTheBitsOfItsPrefillRow) {
  for (int32_t window : {0, 1100}) {
    World world({3, 1, 32, 16, window}, dtype(), 2300, 4);
    const std::vector<float> whole = world.Attend(*Make(2), 1000, 2300);
    for (int threads : {1, 3}) {
      auto backend = Make(threads);
      for (int32_t position : {1000, 1023, 1024, 1087, 2047, 2048, 2299}) {
        const auto alone = world.Attend(*backend, position, position + 1);
        const auto at = whole.begin() + int64_t(size_t(position - 1000) * world.row());
        ASSERT_TRUE(testing::SameBits(alone, {at, at + int64_t(world.row())})) << position;
      }
    }
  }
}

TEST_P(AttentionTest, OutputIsRoundedToTheAskedType) {
  auto backend = Make(2);
  World world({4, 2, 24, 16, 0}, dtype(), 50, 5);
  EXPECT_TRUE(testing::SameBits(world.Attend(*backend, 0, 50, DType::kBF16),
                                testing::RoundedTo(world.Attend(*backend, 0, 50), DType::kBF16)));
}

std::string NameOfParam(const ::testing::TestParamInfo<AttentionTest::ParamType>& info) {
  return std::get<0>(info.param) + "_" + std::string(NameOf(std::get<1>(info.param)));
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionTest,
                         ::testing::Combine(::testing::ValuesIn(AvailableIsas()),
                                            ::testing::Values(DType::kF32, DType::kBF16,
                                                              DType::kFp8, DType::kInt8)),
                         NameOfParam);

}  // namespace
}  // namespace baton::kernels
