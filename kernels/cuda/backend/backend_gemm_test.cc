#include <gmock/gmock.h>

#include <filesystem>
#include <stdexcept>

#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/testing/cublaslt_stand_in.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

// What the backend does with cuBLASLt, which a stand-in plays here.
namespace baton::kernels::cuda {
namespace {

using cublaslt::Status;
using kernels::testing::Encode;
using kernels::testing::MatrixOf;
using kernels::testing::Random;
using kernels::testing::RelativeError;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TheCublasLt;

constexpr int32_t kTokens = 3, kOutputs = 20, kInputs = 24;

class BackendGemmTest : public ::testing::Test {
 protected:
  BackendGemmTest() {
    TheCublasLt() = {};
    std::filesystem::remove_all(folder_);
  }
  ~BackendGemmTest() override {
    EXPECT_EQ(TheCublasLt().complaint, "");
    EXPECT_EQ(testing::Complaints(), "");
    TheCublasLt() = {};
  }

  // One weight of this type, told of beforehand; the backend, or why there is none.
  std::string Open(CudaGemm gemm, bool deterministic = false, DType dtype = DType::kBF16) {
    CudaOptions options = {.deterministic = deterministic,
                           .gemm = gemm,
                           .gemm_folder = folder_,
                           .staging_bytes = 1 << 20,
                           .workspace_bytes = 1 << 20};
    options.on_failure = [](const std::string& what) { throw std::runtime_error(what); };
    if (const Error error = CudaBackend::Create(options, &backend_)) return *error;
    Random random(1);
    const auto w = Encode(random.Floats(kOutputs * kInputs), dtype);
    const HostMatrix host = MatrixOf(w, dtype, kOutputs, kInputs);
    w_ = backend_->LoadMatrix({&host, 1}, dtype);
    x_ = backend_->Allocate(size_t{kTokens} * kInputs * BytesOf(dtype));
    out_ = backend_->Allocate(size_t{kTokens} * kOutputs * sizeof(float));
    const GemmUse use = {w_.get(), nullptr,    GemmOutput::kStore,
                         kTokens,  x_->data(), out_->as<float>()};
    backend_->PrepareGemms({&use, 1});
    const auto x = Encode(random.Floats(kTokens * kInputs), dtype);
    backend_->CopyToDevice(x.data(), x_->data(), x.size());
    TheCublasLt().products = 0;
    return "";
  }
  void Multiply(int32_t tokens = kTokens) {
    backend_->Gemm(x_->data(), *w_, nullptr, tokens, GemmOutput::kStore, out_->as<float>());
  }
  std::vector<float> Result() {
    std::vector<float> values(size_t{kTokens} * kOutputs);
    backend_->CopyToHost(out_->data(), values.data(), values.size() * sizeof(float));
    return values;
  }
  // In a fresh backend.
  std::vector<float> OwnResult() {
    EXPECT_EQ(Open(CudaGemm::kOwn), "");
    Multiply();
    return Result();
  }
  std::string Gemm() const { return backend_->facts().gemm; }

  const std::string folder_ = std::filesystem::path(::testing::TempDir()) / "backend_gemm_test";
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Matrix> w_;
  std::unique_ptr<Buffer> x_, out_;
};

TEST_F(BackendGemmTest, OwnKernelsAreWhatThereIsUnlessAskedFor) {
  EXPECT_EQ(CudaOptions().gemm, CudaGemm::kOwn);
  OwnResult();
  EXPECT_EQ(TheCublasLt().heuristics, 0);
  EXPECT_EQ(Gemm(), "own");
  EXPECT_THAT(backend_->name(), Not(HasSubstr("cublaslt")));
}

TEST_F(BackendGemmTest, WhoWasFasterMultiplies) {
  const std::vector<float> own = OwnResult();
  ASSERT_EQ(Open(CudaGemm::kAuto), "");
  Multiply();
  EXPECT_LT(RelativeError(Result(), own), 1e-5);
  EXPECT_EQ(TheCublasLt().products, 1);
  EXPECT_EQ(backend_->name(), "cuda:sm80:cublaslt-13.1.0") << "other bits have another name";
  EXPECT_THAT(Gemm(), HasSubstr("cuBLASLt 13.1.0 for 3 of 3 sizes"));
}

TEST_F(BackendGemmTest, WithoutTheLibraryAutoIsOwnAndSaysWhy) {
  const std::vector<float> own = OwnResult();
  const std::string name = backend_->name();
  TheCublasLt().why_missing = "cuBLASLt is not there";
  ASSERT_EQ(Open(CudaGemm::kAuto), "");
  Multiply();
  EXPECT_EQ(Result(), own);
  EXPECT_EQ(backend_->name(), name) << "the same bits have the same name";
  EXPECT_EQ(Gemm(), "own: cuBLASLt is not there");
}

TEST_F(BackendGemmTest, AskedForALibraryThatIsNotThereIsAnError) {
  TheCublasLt().why_missing = "cuBLASLt is not there";
  EXPECT_EQ(Open(CudaGemm::kCublasLt), "gemm is cublaslt: cuBLASLt is not there");
}

TEST_F(BackendGemmTest, DeterministicIsOwn) {
  ASSERT_EQ(Open(CudaGemm::kAuto, /*deterministic=*/true), "");
  Multiply();
  EXPECT_EQ(Result(), OwnResult());
  EXPECT_EQ(TheCublasLt().heuristics, 0);
  EXPECT_THAT(Open(CudaGemm::kCublasLt, /*deterministic=*/true), HasSubstr("deterministic"));
}

TEST_F(BackendGemmTest, WeightsInF32AreMultipliedByOwnKernels) {
  ASSERT_EQ(Open(CudaGemm::kCublasLt, false, DType::kF32), "");
  Multiply();
  Result();
  EXPECT_EQ(TheCublasLt().products, 0);
}

TEST_F(BackendGemmTest, AStepThatComesAgainIsAGraphWithTheLibrarysProducts) {
  ASSERT_EQ(Open(CudaGemm::kAuto), "");
  std::vector<std::vector<float>> results;
  for (int step = 0; step < 4; ++step) {
    Multiply();
    Multiply();
    results.push_back(Result());
  }
  for (const auto& result : results) EXPECT_EQ(result, results.front());
#if BATON_CLEARS_PADDING
  EXPECT_EQ(TheCublasLt().products, 4) << "two run, two recorded, and then the graph";
#endif
}

TEST_F(BackendGemmTest, ARefusalInAStepIsServedByOwnKernelsFromThenOn) {
  const std::vector<float> own = OwnResult();
  ASSERT_EQ(Open(CudaGemm::kCublasLt), "");
  TheCublasLt().on_multiply = Status::kNotSupported;
  Multiply();
  EXPECT_EQ(Result(), own);
  TheCublasLt().on_multiply = Status::kSuccess;
  Multiply();
  EXPECT_EQ(Result(), own);
  EXPECT_EQ(TheCublasLt().products, 0);
}

TEST_F(BackendGemmTest, AFailureInAStepIsTheDevicesInWords) {
  ASSERT_EQ(Open(CudaGemm::kCublasLt), "");
  TheCublasLt().on_multiply = Status::kExecutionFailed;
  Multiply();
  try {
    Result();
    FAIL() << "nobody was told";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "cublasLtMatmul: CUBLAS_STATUS_EXECUTION_FAILED (13)");
  }
  backend_.reset();
}

// Where the file has it, a model is loaded with one product of each size and nothing is asked.
TEST_F(BackendGemmTest, AWorkerThatStartsAgainMeasuresNothing) {
  ASSERT_EQ(Open(CudaGemm::kAuto), "");
  TheCublasLt().heuristics = 0;
  ASSERT_EQ(Open(CudaGemm::kAuto), "");
  EXPECT_EQ(TheCublasLt().heuristics, 0);
  Multiply(1);
  Result();
  EXPECT_EQ(TheCublasLt().products, 1);
}

}  // namespace
}  // namespace baton::kernels::cuda
