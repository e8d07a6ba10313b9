#include "kernels/cuda/kv/block_checksum.h"

#include "kernels/checksum.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Random;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;

TEST(CudaBlockChecksumTest, EqualsTheHosts) {
  InEveryOrder([] {
    Random random(1);
    // Around a stripe, a kilobyte, and the kilobytes that a block of threads takes at once.
    for (const size_t bytes : {256, 272, 1024, 1040, 1088, 2048, 3 * 1024 + 16, 8192, 64 << 10,
                               (64 << 10) + 16, (65 << 10) + 512, (128 << 10) + 1024}) {
      const std::vector<uint64_t> offsets = {16, bytes + 48, 0};
      std::vector<std::byte> data(2 * bytes + 64);
      for (std::byte& b : data) b = std::byte(random.Int(0, 255));
      DeviceArray<std::byte> device(data);
      DeviceArray<uint64_t> device_offsets(offsets), sums(3);
      ExpectRuns(BlockChecksumArgs{.base = device.data(),
                                   .offsets = device_offsets.data(),
                                   .num_pieces = 3,
                                   .piece_bytes = bytes,
                                   .sums = sums.data()});
      const auto got = sums.ToHost();
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(got[i], Checksum(data.data() + offsets[i], bytes)) << bytes << " bytes";
      }
    }
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
