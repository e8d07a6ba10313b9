#include "kernels/cuda/collective/nccl_library.h"

#include <gmock/gmock.h>

namespace baton::kernels::cuda {
namespace {

// Needs no GPU. The library and the header come from one place, so their versions are equal.
TEST(NcclLibraryTest, WhateverIsCalledIsInTheLibraryOfTheHeader) {
  std::string error;
  const NcclLibrary* nccl = NcclLibrary::Load(&error);
  ASSERT_NE(nccl, nullptr) << error;
  EXPECT_EQ(nccl->version, std::to_string(NCCL_MAJOR) + "." + std::to_string(NCCL_MINOR) + "." +
                               std::to_string(NCCL_PATCH));
  EXPECT_STREQ(nccl->get_error_string(ncclSuccess), "no error");
}

}  // namespace
}  // namespace baton::kernels::cuda
