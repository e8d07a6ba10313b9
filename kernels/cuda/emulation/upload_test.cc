#include <gmock/gmock.h>

#include <stdexcept>

#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/emulation/streams.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

// Weights on their way to a device whose copies are late and in no order, and may fail.
namespace baton::kernels::cuda {
namespace {

using emulation::HeldCopies;
using kernels::testing::Encode;
using kernels::testing::Random;
using ::testing::HasSubstr;

constexpr int32_t kRows = 64, kCols = 24;

class CudaUploadTest : public ::testing::Test {
 protected:
  CudaUploadTest() {
    CudaOptions options = {.staging_bytes = 1 << 16, .workspace_bytes = 1 << 16};
    options.upload_threads = 3;
    options.upload_chunk_bytes = 4 * kCols;
    options.on_failure = [](const std::string& what) { throw std::runtime_error(what); };
    EXPECT_EQ(CudaBackend::Create(options, &backend_).value_or(""), "");
  }

  HostMatrix Part(std::string_view name) const {
    HostMatrix part = {.data = bytes_.data(), .dtype = DType::kF32, .rows = kRows, .cols = kCols};
    part.name = name;
    return part;
  }
  // All rows, by a kernel.
  std::vector<float> Read(const Matrix& matrix) {
    std::vector<int32_t> ids(kRows);
    for (int32_t i = 0; i < kRows; ++i) ids[size_t(i)] = i;
    auto out = backend_->Allocate(values_.size() * sizeof(float));
    backend_->Embed(matrix, ids.data(), nullptr, kRows, out->as<float>());
    std::vector<float> rows(values_.size());
    backend_->CopyToHost(out->data(), rows.data(), out->size());
    return rows;
  }
  std::string Failure(const std::function<void()>& load) {
    try {
      load();
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }

  const std::vector<float> values_ = Random(9).Floats(kRows * kCols);
  const std::vector<std::byte> bytes_ = Encode(values_, DType::kF32);
  std::unique_ptr<Backend> backend_;
};

TEST_F(CudaUploadTest, WeightsAreWholeBeforeAKernelReadsThem) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const HeldCopies held(seed);
    const HostMatrix part = Part("w");
    const auto first = backend_->LoadMatrix({&part, 1}, DType::kF32);
    const auto second = backend_->LoadMatrix({&part, 1}, DType::kF32);
    EXPECT_EQ(held.asked(), size_t{2 * kRows * kCols / kCols});
    EXPECT_EQ(Read(*second), values_) << "seed " << seed;
    EXPECT_EQ(Read(*first), values_) << "seed " << seed;
    EXPECT_EQ(testing::Complaints(), "");
  }
}

// What lies on the device once the uploader has read everything, and once it was waited for.
TEST_F(CudaUploadTest, WithoutWaitingTheHeldCopiesWouldShow) {
  int late = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const HeldCopies held(seed);
    std::unique_ptr<WeightUploader> uploader;
    ASSERT_EQ(WeightUploader::Create({.num_threads = 2, .chunk_bytes = 4 * kCols}, &uploader)
                  .value_or(""),
              "");
    auto memory = backend_->Allocate(values_.size() * sizeof(float));
    const HostMatrix part = Part("w");
    std::vector<float> there(values_.size());
    ASSERT_EQ(uploader->Upload({&part, 1}, DType::kF32, memory->data()).value_or(""), "");
    backend_->CopyToHost(memory->data(), there.data(), memory->size());
    late += there != values_;
    ASSERT_EQ(uploader->Wait().value_or(""), "");
    backend_->CopyToHost(memory->data(), there.data(), memory->size());
    EXPECT_EQ(there, values_);
  }
  EXPECT_GT(late, 0);
}

TEST_F(CudaUploadTest, ACopyThatFailsIsToldWithItsTensor) {
  for (const size_t copy : {0, 1, 20, kRows - 1}) {
    HeldCopies held(copy + 1);
    held.Fail(copy, "copy to the device: an illegal memory access was encountered");
    const HostMatrix part = Part("model.layers.3.mlp.up_proj.weight");
    std::unique_ptr<Matrix> matrix;  // freed after what is on its way to it has come
    EXPECT_THAT(Failure([&] {
                  matrix = backend_->LoadMatrix({&part, 1}, DType::kF32);
                  backend_->Synchronize();
                }),
                HasSubstr("tensor model.layers.3.mlp.up_proj.weight: copy to the device: an "
                          "illegal memory access"))
        << "copy " << copy;
    // One failure is told once; what comes after it is whole.
    const auto again = backend_->LoadMatrix({&part, 1}, DType::kF32);
    EXPECT_EQ(Read(*again), values_);
  }
}

TEST_F(CudaUploadTest, AWeightThatDoesNotFitIsNamed) {
  HostMatrix huge = Part("lm_head.weight");
  huge.rows = int64_t{1} << 40;
  EXPECT_THAT(Failure([&] { backend_->LoadMatrix({&huge, 1}, DType::kF32); }),
              HasSubstr("tensor lm_head.weight: "));
}

}  // namespace
}  // namespace baton::kernels::cuda
