#include "kernels/cuda/cublaslt/lt_gemm.h"

#include "kernels/cuda/gemm/gemm_world.h"
#include "kernels/cuda/testing/harness.h"

// On a GPU with the library that is there; in the emulation with the tests' stand-in.
namespace baton::kernels::cuda {
namespace {

using cublaslt::Status;
using kernels::testing::RelativeError;
using testing::GemmProblem;
using testing::GemmWorld;

constexpr size_t kWorkspaceBytes = 4 << 20;

class LtGemmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    library_ = cublaslt::Library::Load(&error);
    if (library_ == nullptr) GTEST_SKIP() << error;
    ASSERT_EQ(library_->call.create(&handle_), Status::kSuccess);
  }
  void TearDown() override {
    if (handle_ != nullptr) library_->call.destroy(handle_);
  }
  // By every candidate, each with the result of its own.
  std::vector<std::vector<float>> ByAll(GemmWorld& world, int32_t tokens) {
    std::vector<std::vector<float>> results;
    size_t count = 1;
    for (size_t which = 0; which < count; ++which) {
      results.push_back(world.Got(0, tokens, [&](const GemmArgs& args) {
        std::unique_ptr<LtGemm> gemm;
        std::vector<LtCandidate> candidates;
        ASSERT_EQ(LtGemm::Create(*library_, handle_, KindOf(args), &gemm), std::nullopt);
        ASSERT_EQ(gemm->Propose(args, kWorkspaceBytes, 4, &candidates), std::nullopt);
        ASSERT_FALSE(candidates.empty());
        count = candidates.size();
        EXPECT_TRUE(gemm->Accepts(args, candidates[which]));
        EXPECT_EQ(gemm->Enqueue(args, candidates[which], workspace_.data(), {}), Status::kSuccess);
        EXPECT_EQ(testing::Complaints(), "");
      }));
    }
    return results;
  }

  testing::DeviceBytes workspace_{kWorkspaceBytes};
  const cublaslt::Library* library_ = nullptr;
  cublaslt::Handle handle_ = nullptr;
};

TEST_F(LtGemmTest, EqualsTheReference) {
  for (const GemmProblem& problem :
       {GemmProblem{1, 32, 64, DType::kBF16}, GemmProblem{5, 37, 40, DType::kBF16, true},
        GemmProblem{16, 24, 136, DType::kBF16, true, true},
        GemmProblem{33, 70, 8, DType::kBF16, false, true}}) {
    GemmWorld world(problem, 1);
    const std::vector<float> want = world.Want();
    for (const std::vector<float>& got : ByAll(world, problem.tokens)) {
      EXPECT_LT(RelativeError(got, want), 1e-5)
          << problem.tokens << " x " << problem.outputs << " x " << problem.inputs;
    }
  }
}

TEST_F(LtGemmTest, OneDescriptionServesAnyNumberOfTokens) {
  const GemmProblem problem = {7, 40, 64, DType::kBF16, true};
  GemmWorld world(problem, 2);
  std::unique_ptr<LtGemm> gemm;
  LtCandidate candidate;
  const auto run = [&](const GemmArgs& args) {
    if (gemm == nullptr) {
      std::vector<LtCandidate> candidates;
      ASSERT_EQ(LtGemm::Create(*library_, handle_, KindOf(args), &gemm), std::nullopt);
      ASSERT_EQ(gemm->Propose(args, kWorkspaceBytes, 1, &candidates), std::nullopt);
      ASSERT_EQ(candidates.size(), 1u);
      candidate = candidates[0];
    }
    EXPECT_EQ(gemm->Enqueue(args, candidate, workspace_.data(), {}), Status::kSuccess);
    EXPECT_EQ(testing::Complaints(), "");
  };
  const std::vector<float> want = world.Want();
  for (const auto& [first, count] : {std::pair{0, 7}, {3, 1}, {2, 5}, {0, 7}}) {
    const auto begin = want.begin() + int64_t{first} * problem.outputs;
    EXPECT_LT(RelativeError(world.Got(first, count, run),
                            std::vector<float>(begin, begin + int64_t{count} * problem.outputs)),
              1e-5)
        << count << " rows from " << first;
  }
}

TEST_F(LtGemmTest, WhatItTakesItKeepsTo) {
  GemmWorld world({4, 32, 64, DType::kBF16}, 3);
  world.Got(0, 4, [&](const GemmArgs& args) {
    std::unique_ptr<LtGemm> gemm;
    ASSERT_EQ(LtGemm::Create(*library_, handle_, KindOf(args), &gemm), std::nullopt);
    LtCandidate unknown;
    unknown.algorithm.data[0] = ~0ull;
    EXPECT_FALSE(gemm->Accepts(args, unknown)) << "bytes that the library never made";
    std::vector<LtCandidate> candidates;
    ASSERT_EQ(gemm->Propose(args, 0, 4, &candidates), std::nullopt);
    for (const LtCandidate& candidate : candidates) EXPECT_EQ(candidate.workspace_bytes, 0u);
    // GemmWorld reads the result.
    EXPECT_EQ(gemm->Enqueue(args, candidates.at(0), nullptr, {}), Status::kSuccess);
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
