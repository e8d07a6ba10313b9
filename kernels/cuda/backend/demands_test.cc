#include "kernels/cuda/backend/demands.h"

#include <gmock/gmock.h>

namespace baton::kernels::cuda {
namespace {

using ::testing::HasSubstr;

TEST(CudaDemandsTest, ADriverIsOldByItsMajorVersion) {
  EXPECT_EQ(CheckDriver(0, 13000).value_or(""), "no NVIDIA driver is installed");
  EXPECT_EQ(CheckDriver(12080, 13000).value_or(""),
            "the NVIDIA driver knows CUDA 12.8, this build needs 13.0 or newer: update the driver");
  EXPECT_EQ(CheckDriver(13000, 13020).value_or(""), "");
  EXPECT_EQ(CheckDriver(14010, 13000).value_or(""), "");
}

TEST(CudaDemandsTest, AGpuIsOneOfThoseThatAreThere) {
  EXPECT_EQ(CheckPresent(0, 0).value_or(""), "this machine has no NVIDIA GPU");
  EXPECT_THAT(CheckPresent(2, 2).value_or(""), HasSubstr("device is 2; this machine has 2 GPU(s)"));
  EXPECT_THAT(CheckPresent(-1, 2).value_or(""), HasSubstr("device is -1"));
  EXPECT_EQ(CheckPresent(1, 2).value_or(""), "");
}

TEST(CudaDemandsTest, AGpuBeforeAmpereIsNamedWithWhatIsTheLeast) {
  EXPECT_EQ(CheckComputeCapability("Tesla T4", 75).value_or(""),
            "Tesla T4 has compute capability 75; 80 (Ampere) is the least");
  EXPECT_EQ(CheckComputeCapability("NVIDIA A100", 80).value_or(""), "");
}

}  // namespace
}  // namespace baton::kernels::cuda
