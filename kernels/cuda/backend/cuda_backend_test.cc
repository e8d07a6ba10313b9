#include "kernels/cuda/backend/cuda_backend.h"

#include <gmock/gmock.h>

#include <array>
#include <stdexcept>

#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

// What the backend adds to its kernels: which of them it takes, how it cuts what is too large for
// its memory, where rows are sampled. That models compute the right thing on it is tests/oracle's.
namespace baton::kernels::cuda {
namespace {

using kernels::testing::Encode;
using kernels::testing::Random;
using kernels::testing::RelativeError;
using ::testing::HasSubstr;

std::unique_ptr<Backend> Make(CudaOptions options = {}) {
  options.staging_bytes = std::min<size_t>(options.staging_bytes, 1 << 20);
  options.workspace_bytes = std::min<size_t>(options.workspace_bytes, 1 << 20);
  options.on_failure = [](const std::string& what) { throw std::runtime_error(what); };
  std::unique_ptr<Backend> backend;
  const Error error = CudaBackend::Create(options, &backend);
  EXPECT_EQ(error.value_or(""), "");
  return backend;
}

std::unique_ptr<Buffer> ToDevice(Backend& backend, const void* bytes, size_t count) {
  auto buffer = backend.Allocate(count);
  backend.CopyToDevice(bytes, buffer->data(), count);
  return buffer;
}
std::unique_ptr<Buffer> ToDevice(Backend& backend, const std::vector<float>& values) {
  return ToDevice(backend, values.data(), values.size() * sizeof(float));
}
std::vector<float> ToHost(Backend& backend, Buffer& buffer) {
  std::vector<float> values(buffer.size() / sizeof(float));
  backend.CopyToHost(buffer.data(), values.data(), buffer.size());
  return values;
}

TEST(CudaBackendTest, MemoryIsZeroed) {
  auto backend = Make();
  auto buffer = backend->Allocate(12);
  EXPECT_EQ(ToHost(*backend, *buffer), std::vector<float>(3));
}

TEST(CudaBackendTest, WeightsMayBeLargerThanTheChunksTheyComeBy) {
  auto backend = Make({.upload_threads = 3, .upload_chunk_bytes = 1000});
  Random random(1);
  const auto values = random.Floats(90 * 40);
  const auto bytes = Encode(values, DType::kF32, /*skew=*/3);
  const HostMatrix parts[2] = {{bytes.data() + 3, DType::kF32, 30, 40},
                               {bytes.data() + 3 + 30 * 40 * 4, DType::kF32, 60, 40}};
  const auto matrix = backend->LoadMatrix(parts, DType::kBF16);
  std::vector<int32_t> ids(90);
  for (int32_t i = 0; i < 90; ++i) ids[size_t(i)] = i;
  auto out = backend->Allocate(values.size() * sizeof(float));
  backend->Embed(*matrix, ids.data(), nullptr, 90, out->as<float>());
  EXPECT_EQ(ToHost(*backend, *out), kernels::testing::RoundedTo(values, DType::kBF16));
  EXPECT_EQ(testing::Complaints(), "");
}

TEST(CudaBackendTest, WhatItCannotRunIsNamedWithTheLimit) {
  auto backend = Make();
  EXPECT_EQ(backend->WhyNot({.hidden = 48, .intermediate = 88, .head_dim = 16}), "");
  EXPECT_THAT(backend->WhyNot({.hidden = 48, .intermediate = 85, .head_dim = 16}),
              HasSubstr("intermediate_size is 85; the CUDA backend needs a multiple of 8"));
  EXPECT_THAT(backend->WhyNot({.hidden = 48, .intermediate = 88, .head_dim = 512}),
              HasSubstr("head_dim is 512"));
  EXPECT_THAT(backend->WhyNot({.hidden = 32768, .intermediate = 88, .head_dim = 16}),
              HasSubstr("hidden_size is 32768"));
}

TEST(CudaBackendTest, ADeviceThatIsNotThereIsAnError) {
  std::unique_ptr<Backend> backend;
  const Error error = CudaBackend::Create({.device = 99}, &backend);
  EXPECT_THAT(error.value_or(""), HasSubstr("device is 99; this machine has"));
}

TEST(CudaBackendTest, AFailureIsToldOnce) {
  auto backend = Make();
  float host = 0;
  EXPECT_THROW(backend->Allocate(size_t{1} << 60), std::runtime_error);
  EXPECT_THROW(backend->GatherRows(&host, std::vector<int32_t>{0}, 4, &host), std::runtime_error);
}

// Decodes of long contexts, in as many launches as the workspace calls for.
std::vector<float> DecodeWith(size_t workspace_bytes, bool deterministic) {
  auto backend = Make({.deterministic = deterministic, .workspace_bytes = workspace_bytes});
  Random random(5);
  KvView kv = {.dtype = DType::kBF16,
               .num_layers = 1,
               .num_blocks = 40,
               .block_tokens = 16,
               .num_kv_heads = 1,
               .head_dim = 64};
  const auto pool_bytes = Encode(random.Floats(kv.pool_bytes() / 2), DType::kBF16);
  auto pool = ToDevice(*backend, pool_bytes.data(), pool_bytes.size());
  kv.base = pool->data();
  std::vector<int32_t> table(40);
  for (int32_t i = 0; i < 40; ++i) table[size_t(i)] = 39 - i;
  std::vector<AttentionSequence> sequences;
  for (int32_t i = 0; i < 5; ++i) sequences.push_back({i, 1, 560 + 10 * i, table.data()});
  sequences.push_back({5, 3, 9, table.data()});
  auto q = ToDevice(*backend, random.Floats(8 * 2 * 64));
  auto out = backend->Allocate(8 * 2 * 64 * sizeof(float));
  backend->Attention(q->as<float>(), kv, 0, 2, sequences, 0.125f, 0, DType::kF32, out->data());
  return ToHost(*backend, *out);
}

TEST(CudaBackendTest, ASmallWorkspaceCutsTheBatchAndChangesNothing) {
  constexpr size_t kTwoSequences = 2 * 2 * 2 * 66 * sizeof(float);  // two heads, two splits
  const auto whole = DecodeWith(1 << 20, false);
  EXPECT_EQ(DecodeWith(kTwoSequences, false), whole);
  EXPECT_EQ(testing::Complaints(), "");
  EXPECT_THROW(DecodeWith(kTwoSequences / 4, false), std::runtime_error);
}

TEST(CudaBackendTest, DeterministicDecodesAreOtherArithmeticAndTheSameNumbers) {
  const auto fast = DecodeWith(1 << 20, false), deterministic = DecodeWith(1 << 20, true);
  EXPECT_LT(RelativeError(deterministic, fast), 1e-2);
  EXPECT_NE(deterministic, fast);
}

class CudaBackendSamplingTest : public ::testing::Test {
 protected:
  CudaBackendSamplingTest() : logits_(Random(7).Floats(3 * kVocab, 3)) {
    device_ = ToDevice(*backend_, logits_);
  }
  void ExpectTheReferences(const std::vector<SampleArgs>& rows) {
    std::vector<SampledToken> got(rows.size());
    backend_->Sample(device_->as<float>(), kVocab, rows, got);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto begin = logits_.begin() + int64_t{rows[i].row} * kVocab;
      std::vector<float> scratch(begin, begin + kVocab);
      const SampledToken want = kernels::SampleRow(scratch, rows[i]);
      EXPECT_EQ(got[i].token, want.token) << "sample " << i;
      ASSERT_EQ(got[i].top.size(), want.top.size()) << "sample " << i;
      for (size_t k = 0; k < want.top.size(); ++k) {
        EXPECT_EQ(got[i].top[k].token, want.top[k].token);
        EXPECT_EQ(got[i].top[k].logprob, want.top[k].logprob);
      }
    }
    EXPECT_EQ(ToHost(*backend_, *device_), logits_) << "the logits are the caller's";
    EXPECT_EQ(testing::Complaints(), "");
  }

  static constexpr int32_t kVocab = 333;
  std::vector<float> logits_;
  // Room for two rows of logits in either memory.
  std::unique_ptr<Backend> backend_ =
      Make({.staging_bytes = 3 * 1536, .workspace_bytes = 2 * kVocab * sizeof(float)});
  std::unique_ptr<Buffer> device_;
};

TEST_F(CudaBackendSamplingTest, EveryKindOfRowGetsTheReferencesToken) {
  const std::vector<std::pair<int32_t, float>> bias = {{17, 9.0f}, {200, -5.0f}};
  const std::vector<int32_t> banned = {3, 17};
  std::vector<SampleArgs> rows;
  for (int32_t i = 0; i < 12; ++i) {
    SampleArgs args = {.row = i % 3, .temperature = i % 4 == 0 ? 0.0f : 0.9f, .seed = 11};
    args.draw = uint64_t(i);
    if (i % 2 == 1) args.logit_bias = bias;
    if (i % 5 == 1) args.banned = banned;
    if (i % 6 == 2) args.num_logprobs = 4;
    if (i % 6 == 5) args.given = 40, args.num_logprobs = 1;
    rows.push_back(args);
  }
  ExpectTheReferences(rows);
}

// Each step embeds what the one before it has picked, and is enqueued before that is known.
TEST_F(CudaBackendSamplingTest, TokensThatStayOnTheDeviceAreTheNextStepsInput) {
  Random random(3);
  const auto table = Encode(random.Floats(size_t{kVocab} * 8), DType::kF32);
  const HostMatrix host = {table.data(), DType::kF32, kVocab, 8};
  const auto matrix = backend_->LoadMatrix({&host, 1}, DType::kF32);
  auto tokens = backend_->Allocate(16 * sizeof(int32_t));
  auto out = backend_->Allocate(3 * 8 * sizeof(float));
  std::vector<SampleArgs> rows;
  for (int32_t i = 0; i < 3; ++i) rows.push_back({.row = i, .temperature = 0.8f, .seed = 9});
  std::vector<SampledToken> want(3);
  std::array<std::vector<int32_t>, 2> got = {std::vector<int32_t>(3), std::vector<int32_t>(3)};
  ASSERT_TRUE(backend_->CanSampleAhead(rows));
  std::vector<uint64_t> copies;
  for (size_t step = 0; step < 12; ++step) {
    for (SampleArgs& row : rows) row.draw = step;
    backend_->SampleAhead(device_->as<float>(), kVocab, rows, tokens->as<int32_t>());
    copies.push_back(
        backend_->CopyToHostLater(tokens->data(), got[step % 2].data(), 3 * sizeof(int32_t)));
    if (step > 0) backend_->WaitForCopy(copies[step - 1]);
    const int32_t ids[] = {-3, 17, -1};
    backend_->Embed(*matrix, ids, tokens->as<int32_t>(), 3, out->as<float>());
    if (step == 0) continue;
    for (SampleArgs& row : rows) row.draw = step - 1;
    backend_->Sample(device_->as<float>(), kVocab, rows, want);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(got[(step - 1) % 2][i], want[i].token) << step;
  }
  backend_->WaitForCopy(copies.back());
  const std::vector<float> rows_of_out = ToHost(*backend_, *out);
  const int32_t ids[] = {got[1][2], 17, got[1][0]};
  auto plain = backend_->Allocate(3 * 8 * sizeof(float));
  backend_->Embed(*matrix, ids, nullptr, 3, plain->as<float>());
  EXPECT_EQ(rows_of_out, ToHost(*backend_, *plain));
  EXPECT_EQ(testing::Complaints(), "");
}

TEST_F(CudaBackendSamplingTest, OnlyTokensAreSampledAhead) {
  EXPECT_TRUE(backend_->CanSampleAhead(std::vector<SampleArgs>{{.row = 0}, {.row = 1}}));
  EXPECT_FALSE(backend_->CanSampleAhead(std::vector<SampleArgs>{{.row = 0, .num_logprobs = 0}}));
  EXPECT_FALSE(backend_->CanSampleAhead(std::vector<SampleArgs>{{.row = 0, .given = 3}}));
  const std::vector<std::pair<int32_t, float>> bias = {{17, 9.0f}};
  EXPECT_FALSE(backend_->CanSampleAhead(
      std::vector<SampleArgs>{{.row = 0}, {.row = 1, .logit_bias = bias}}));
}

TEST_F(CudaBackendSamplingTest, SamplesThatShareARowDoNotSeeEachOthersPenalties) {
  const std::vector<std::pair<int32_t, float>> bias = {{5, 100.0f}};
  SampleArgs biased = {.row = 1, .temperature = 0}, plain = biased;
  biased.logit_bias = bias;
  ExpectTheReferences({biased, plain, biased});
}

}  // namespace
}  // namespace baton::kernels::cuda
