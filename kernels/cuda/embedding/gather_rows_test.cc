#include "kernels/cuda/embedding/gather_rows.h"

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Random;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;

TEST(CudaGatherRowsTest, RowsComeInTheOrderAskedForAndTwice) {
  InEveryOrder([] {
    Random random(1);
    for (const int32_t columns : {4, 48, 1100}) {
      const std::vector<float> x = random.Floats(size_t(7 * columns));
      const std::vector<int32_t> rows = {6, 0, 3, 3};
      std::vector<float> want;
      for (const int32_t row : rows) {
        want.insert(want.end(), x.begin() + row * columns, x.begin() + (row + 1) * columns);
      }
      DeviceArray<float> device_x(x), out(want.size());
      DeviceArray<int32_t> device_rows(rows);
      ExpectRuns(GatherRowsArgs{.x = reinterpret_cast<const std::byte*>(device_x.data()),
                                .rows = device_rows.data(),
                                .num_rows = int32_t(rows.size()),
                                .row_bytes = size_t(columns) * sizeof(float),
                                .out = reinterpret_cast<std::byte*>(out.data())});
      EXPECT_EQ(out.ToHost(), want) << columns << " columns";
    }
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
