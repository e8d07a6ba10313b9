#include <gmock/gmock.h>

#include "kernels/cuda/cublaslt/library.h"

namespace baton::kernels::cuda::cublaslt {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(LoadLibraryTest, ALibraryThatIsNotThereIsNamed) {
  const Loading loading = LoadLibrary({"libcublasLt.so.nowhere"});
  EXPECT_THAT(loading.error,
              AllOf(HasSubstr("cuBLASLt is not there: "), HasSubstr("libcublasLt.so.nowhere")));
}

TEST(LoadLibraryTest, ALibraryThatLacksAFunctionIsNamedWithTheFunction) {
  EXPECT_EQ(LoadLibrary({"libcublasLt.so.nowhere", "libc.so.6"}).error,
            "libc.so.6 has no cublasLtCreate: it is too old");
}

TEST(LoadLibraryTest, AStatusIsToldByNameAndNumber) {
  EXPECT_EQ(TextOf(Status::kNotSupported), "CUBLAS_STATUS_NOT_SUPPORTED (15)");
  EXPECT_EQ(TextOf(Status(77)), "CUBLAS_STATUS_unknown (77)");
}

}  // namespace
}  // namespace baton::kernels::cuda::cublaslt
