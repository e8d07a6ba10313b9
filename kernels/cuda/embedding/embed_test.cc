#include "kernels/cuda/embedding/embed.h"

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Encode;
using kernels::testing::MatrixOf;
using kernels::testing::Random;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;

TEST(CudaEmbedTest, EqualsTheReference) {
  InEveryOrder([] {
    Random random(1);
    for (const int32_t hidden : {8, 24, 896, 2560}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const int32_t vocab = 50, tokens = 9;
        const auto bytes = Encode(random.Floats(size_t(vocab) * size_t(hidden)), dtype);
        std::vector<int32_t> ids(tokens);
        for (int32_t& id : ids) id = random.Int(0, vocab - 1);
        ids[0] = vocab - 1;
        std::vector<float> want(size_t(tokens) * size_t(hidden));
        auto reference = MakeReferenceBackend();
        const HostMatrix host = MatrixOf(bytes, dtype, vocab, hidden);
        reference->Embed(*reference->LoadMatrix({&host, 1}, dtype), ids.data(), nullptr, tokens,
                         want.data());

        DeviceArray<std::byte> table(bytes);
        DeviceArray<int32_t> device_ids(ids);
        DeviceArray<float> out(want.size());
        ExpectRuns(EmbedArgs{.table = table.data(),
                             .table_dtype = dtype,
                             .ids = device_ids.data(),
                             .out = out.data(),
                             .num_tokens = tokens,
                             .hidden = hidden});
        EXPECT_EQ(out.ToHost(), want) << "hidden " << hidden;
      }
    }
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
