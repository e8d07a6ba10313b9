#include "common/transfer/nccl/nccl_links.h"

#include <gmock/gmock.h>

namespace baton::transfer {
namespace {

using ::testing::HasSubstr;

// The library is there where this test is: what may be missing is a GPU.
TEST(NcclLinksTest, WhereNcclIsThereOnlyAGpuCanBeMissing) {
  const auto links = OpenNcclLinks(0);
  if (!links.ok()) {
    EXPECT_THAT(MessageOf(links.status()), HasSubstr("transport is nccl: cuda:0: "));
  }
}

}  // namespace
}  // namespace baton::transfer
