#include "kernels/cuda/tuning/gemm_chooser.h"

#include <gmock/gmock.h>

#include <fstream>

#include "kernels/cuda/testing/cublaslt_stand_in.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

// On the emulation, where our own kernels take emulation::kLaunchSeconds (10 us) each and
// cuBLASLt's stand-in as long as it is told.
namespace baton::kernels::cuda {
namespace {

using cublaslt::Status;
using kernels::testing::Encode;
using kernels::testing::Random;
using ::testing::AllOf;
using testing::CublasLtStandIn;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TheCublasLt;

constexpr int32_t kTokens = 6, kOutputs = 20, kInputs = 24;
constexpr int32_t kBuckets = 4;  // 1, 2, 3 to 4, 5 to 6
constexpr size_t kWorkspaceBytes = 4096;

class GemmChooserTest : public ::testing::Test {
 protected:
  GemmChooserTest() {
    TheCublasLt() = {};
    std::filesystem::remove_all(folder_);
    (void)Describe(0, &device_);
  }
  ~GemmChooserTest() override {
    EXPECT_EQ(TheCublasLt().complaint, "");
    EXPECT_EQ(testing::Complaints(), "");
    chooser_.reset();
    EXPECT_EQ(TheCublasLt().records, 0) << "all that was made is destroyed";
    TheCublasLt() = {};
  }

  // Two layers' weights, as a model announces them.
  std::vector<GemmArgs> Uses(bool has_bias = false, bool is_added = false) {
    std::vector<GemmArgs> uses;
    for (auto& w : weights_) {
      uses.push_back({.x = x_.data(),
                      .w = w.data(),
                      .bias = has_bias ? bias_.data() : nullptr,
                      .out = out_.data(),
                      .is_added = is_added,
                      .num_tokens = kTokens,
                      .num_outputs = kOutputs,
                      .num_inputs = kInputs});
    }
    return uses;
  }
  GemmArgs Of(int32_t tokens) {
    GemmArgs args = Uses()[0];
    args.num_tokens = tokens;
    return args;
  }
  Error Make(GemmChooserOptions options = {}) {
    chooser_.reset();
    options.folder = folder_;
    options.workspace = workspace_.data();
    if (options.workspace_bytes == 0) options.workspace_bytes = kWorkspaceBytes;
    options.launches_max = 2;
    return GemmChooser::Create(options, device_, &chooser_);
  }
  void Prepare(GemmChooserOptions options = {}) {
    ASSERT_EQ(Make(options), std::nullopt);
    ASSERT_EQ(chooser_->Prepare(Uses(), {}), std::nullopt);
  }
  // The proposal that serves so many tokens; -1: own kernels.
  int Chosen(int32_t tokens) {
    const LtChoice* choice = chooser_->Find(Of(tokens));
    return choice == nullptr ? -1 : int(choice->candidate.algorithm.data[1]);
  }
  std::vector<int> AllChosen() {
    std::vector<int> all;
    for (int32_t tokens = 1; tokens <= kTokens; ++tokens) all.push_back(Chosen(tokens));
    return all;
  }
  const std::vector<int> own_ = std::vector<int>(kTokens, -1);
  const std::vector<int> first_ = std::vector<int>(kTokens, 0);

  std::filesystem::path File() const { return folder_ / "gemm-emulation-sm80.txt"; }

  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / "gemm_chooser_test";
  DeviceInfo device_;
  Random random_{1};
  testing::DeviceArray<std::byte> x_{size_t{kTokens} * kInputs * 2};
  std::array<testing::DeviceArray<std::byte>, 2> weights_ = {
      testing::DeviceArray<std::byte>(Encode(random_.Floats(kOutputs * kInputs), DType::kBF16)),
      testing::DeviceArray<std::byte>(Encode(random_.Floats(kOutputs* kInputs), DType::kBF16))};
  testing::DeviceArray<float> bias_{random_.Floats(kOutputs)};
  testing::DeviceArray<float> out_{size_t{kTokens} * kOutputs};
  testing::DeviceBytes workspace_{kWorkspaceBytes};
  std::unique_ptr<GemmChooser> chooser_;
};

TEST_F(GemmChooserTest, TheFasterOneServes) {
  TheCublasLt().proposals = {{.seconds = 5e-6}};
  Prepare();
  EXPECT_EQ(AllChosen(), first_);
  EXPECT_EQ(Chosen(kTokens + 3), -1) << "nobody announced so many";
  EXPECT_THAT(chooser_->Summary(), HasSubstr("cuBLASLt 13.1.0 for 4 of 4 sizes; 4 measured now"));
}

TEST_F(GemmChooserTest, OwnKernelsServeWhereCublasLtLoses) {
  TheCublasLt().proposals = {{.seconds = 20e-6}};
  Prepare();
  EXPECT_EQ(AllChosen(), own_);
}

TEST_F(GemmChooserTest, WhatIsFasterByLessThanMeasurementsDifferIsNotTaken) {
  TheCublasLt().proposals = {{.seconds = 9.9e-6}};
  Prepare();
  EXPECT_EQ(AllChosen(), own_);
}

TEST_F(GemmChooserTest, AskedForCublasLtServesThoughSlower) {
  TheCublasLt().proposals = {{.seconds = 20e-6}};
  Prepare({.gemm = CudaGemm::kCublasLt});
  EXPECT_EQ(AllChosen(), first_);
}

TEST_F(GemmChooserTest, OfManyCandidatesTheFastestIsTaken) {
  TheCublasLt().proposals = {{.seconds = 8e-6}, {.seconds = 6e-6}, {.seconds = 4e-6}};
  Prepare();
  EXPECT_EQ(AllChosen(), std::vector<int>(kTokens, 2));
  std::filesystem::remove_all(folder_);
  Prepare({.candidates_max = 2});
  EXPECT_EQ(AllChosen(), std::vector<int>(kTokens, 1)) << "no more than were asked for";
}

TEST_F(GemmChooserTest, EveryKindIsChosenByItself) {
  Prepare();
  GemmArgs with_bias = Uses(true)[0], added = Uses(false, true)[0], f32 = Of(1);
  f32.dtype = DType::kF32;
  EXPECT_EQ(chooser_->Find(with_bias), nullptr) << "nobody announced it";
  ASSERT_EQ(chooser_->Prepare(Uses(true), {}), std::nullopt);
  ASSERT_EQ(chooser_->Prepare(Uses(false, true), {}), std::nullopt);
  EXPECT_NE(chooser_->Find(with_bias), nullptr);
  EXPECT_NE(chooser_->Find(added), nullptr);
  EXPECT_NE(chooser_->Find(with_bias)->gemm, chooser_->Find(added)->gemm);
  EXPECT_EQ(chooser_->Find(f32), nullptr) << "bf16 alone";
}

TEST_F(GemmChooserTest, ACandidateThatIsWrongIsNeverTaken) {
  TheCublasLt().proposals = {{.seconds = 1e-6, .is_wrong = true}, {.seconds = 5e-6}};
  Prepare({.gemm = CudaGemm::kCublasLt});
  EXPECT_EQ(AllChosen(), std::vector<int>(kTokens, 1));
  EXPECT_THAT(chooser_->Summary(), HasSubstr("4 candidates gave wrong results"));
}

TEST_F(GemmChooserTest, ACandidateServesTheNumbersOfTokensThatItTakes) {
  TheCublasLt().proposals = {{.tokens_max = 2}};
  Prepare();
  EXPECT_EQ(AllChosen(), (std::vector<int>{0, 0, -1, -1, -1, -1}));
}

TEST_F(GemmChooserTest, ACandidateThatNeedsMoreWorkspaceThanThereIsIsNotTaken) {
  TheCublasLt().proposals = {{.seconds = 1e-6, .workspace_bytes = kWorkspaceBytes + 4},
                             {.seconds = 5e-6, .workspace_bytes = kWorkspaceBytes}};
  Prepare();
  EXPECT_EQ(AllChosen(), std::vector<int>(kTokens, 1));
}

TEST_F(GemmChooserTest, WhatWasMeasuredIsReadTheNextTime) {
  TheCublasLt().proposals = {{.seconds = 8e-6}, {.seconds = 4e-6}};
  Prepare();
  TheCublasLt().heuristics = 0;
  Prepare();
  EXPECT_EQ(TheCublasLt().heuristics, 0);
  EXPECT_EQ(AllChosen(), std::vector<int>(kTokens, 1));
  EXPECT_THAT(chooser_->Summary(), Not(HasSubstr("measured")));
}

TEST_F(GemmChooserTest, OneFileServesAutoAndCublasLt) {
  TheCublasLt().proposals = {{.seconds = 20e-6}};
  Prepare();
  TheCublasLt().heuristics = 0;
  Prepare({.gemm = CudaGemm::kCublasLt});
  EXPECT_EQ(TheCublasLt().heuristics, 0);
  EXPECT_EQ(AllChosen(), first_);
}

TEST_F(GemmChooserTest, ADamagedFileIsMeasuredAnewAndReplaced) {
  Prepare();
  std::filesystem::resize_file(File(), std::filesystem::file_size(File()) / 2);
  TheCublasLt().heuristics = 0;
  Prepare();
  EXPECT_EQ(TheCublasLt().heuristics, kBuckets);
  EXPECT_EQ(AllChosen(), first_);
  TheCublasLt().heuristics = 0;
  Prepare();
  EXPECT_EQ(TheCublasLt().heuristics, 0);
}

TEST_F(GemmChooserTest, AnotherVersionOfTheLibraryIsMeasuredAnew) {
  Prepare();
  TheCublasLt().heuristics = 0;
  TheCublasLt().version = "13.2.0";
  Prepare();
  EXPECT_EQ(TheCublasLt().heuristics, kBuckets);
}

TEST_F(GemmChooserTest, AnAlgorithmThatIsNoLongerTakenIsMeasuredAnew) {
  TheCublasLt().proposals = {{.seconds = 8e-6}, {.seconds = 4e-6}};
  Prepare();
  TheCublasLt().proposals.pop_back();
  Prepare();
  EXPECT_EQ(AllChosen(), first_);
}

TEST_F(GemmChooserTest, AnAlgorithmOfTheFileThatHasBecomeWrongIsNotTaken) {
  Prepare();
  TheCublasLt().proposals[0].is_wrong = true;
  Prepare();
  EXPECT_EQ(AllChosen(), own_);
}

TEST_F(GemmChooserTest, AFolderThatCannotBeWrittenIsToldAndNoMatter) {
  std::filesystem::create_directories(folder_.parent_path());
  std::ofstream(folder_) << "not a folder";
  Prepare();
  EXPECT_EQ(AllChosen(), first_);
  EXPECT_THAT(chooser_->Summary(), HasSubstr(folder_.string()));
}

TEST_F(GemmChooserTest, WhatThereWasNoTimeForGoesToOwnKernelsAndIsMeasuredTheNextTime) {
  TheCublasLt().proposals = {{.seconds = 5e-6}};
  Prepare({.seconds_max = 1e-6});
  EXPECT_EQ(AllChosen(), own_);
  EXPECT_THAT(chooser_->Summary(), HasSubstr("4 not measured, for lack of time"));
  Prepare();
  EXPECT_EQ(AllChosen(), first_) << "half a measurement is none";
}

TEST_F(GemmChooserTest, WhyThereIsNoLibraryIsSaid) {
  TheCublasLt().why_missing = "no such file";
  EXPECT_EQ(Make(), "no such file");
  TheCublasLt().why_missing = "";
  TheCublasLt().on_create = Status::kNotInitialized;
  EXPECT_EQ(Make(), "cublasLtCreate of cuBLASLt 13.1.0: CUBLAS_STATUS_NOT_INITIALIZED (1)");
}

TEST_F(GemmChooserTest, ALibraryThatHasNothingForAProductIsNotAtFault) {
  TheCublasLt().on_heuristic = Status::kNotSupported;
  Prepare({.gemm = CudaGemm::kCublasLt});
  EXPECT_EQ(AllChosen(), own_);
  EXPECT_THAT(chooser_->Summary(), Not(HasSubstr("CUBLAS_STATUS")));
}

// Each of its functions fails, for no reason of ours.
TEST_F(GemmChooserTest, ALibraryThatFailsIsToldAndOwnKernelsServe) {
  for (Status CublasLtStandIn::* function :
       {&CublasLtStandIn::on_describe, &CublasLtStandIn::on_heuristic,
        &CublasLtStandIn::on_multiply}) {
    TheCublasLt().*function = Status::kSuccess;
    std::filesystem::remove_all(folder_);
    ASSERT_EQ(Make(), std::nullopt);
    TheCublasLt().*function = Status::kInternalError;
    ASSERT_EQ(chooser_->Prepare(Uses(), {}), std::nullopt);
    EXPECT_EQ(AllChosen(), own_);
    EXPECT_THAT(chooser_->Summary(), HasSubstr("CUBLAS_STATUS_INTERNAL_ERROR (14)"));
    TheCublasLt().*function = Status::kSuccess;
  }
  TheCublasLt().on_check = Status::kArchMismatch;
  std::filesystem::remove_all(folder_);
  Prepare();
  EXPECT_EQ(AllChosen(), own_) << "none of its candidates is taken any more";
}

}  // namespace
}  // namespace baton::kernels::cuda
