#pragma once

#include <vector>

#include "kernels/cuda/testing/device_array.h"
#include "kernels/kv_row.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda::testing {

// A KV pool on the host and the same on the device.
class KvPool {
 public:
  explicit KvPool(KvView geometry) : host_view_(geometry), device_(geometry.pool_bytes()) {
    // NaN where nothing is written, in any type: of a quantized pool the scales.
    host_.assign(geometry.pool_bytes(), std::byte{0xff});
    host_view_.base = host_.data();
  }

  const KvView& host() const { return host_view_; }
  KvView device() {
    KvView view = host_view_;
    view.base = device_.data();
    return view;
  }

  // K and V of one token in one layer, all heads, at random; on both sides.
  void FillToken(kernels::testing::Random& random, int32_t layer, int32_t block, int32_t token) {
    for (int part = 0; part < 2; ++part) {
      for (int32_t head = 0; head < host_view_.num_kv_heads; ++head) {
        const KvRow row = RowOf(host_view_, layer, block, part, head, token);
        const std::vector<float> values = random.Floats(size_t(host_view_.head_dim));
        StoreKvRow(row, host_view_.dtype, values.data(), host_view_.head_dim);
        CopyIn(row.elements, host_view_.row_bytes());
        if (row.scale != nullptr) CopyIn(row.scale, sizeof(float));
      }
    }
  }

  // The whole pool at random.
  void Fill(kernels::testing::Random& random) {
    for (int32_t layer = 0; layer < host_view_.num_layers; ++layer) {
      for (int32_t block = 0; block < host_view_.num_blocks; ++block) {
        for (int32_t t = 0; t < host_view_.block_tokens; ++t) FillToken(random, layer, block, t);
      }
    }
  }

  const std::vector<std::byte>& host_bytes() const { return host_; }
  std::vector<std::byte> DeviceBytesNow() {
    std::vector<std::byte> bytes(host_.size());
    device_.CopyOut(bytes.data(), bytes.size());
    return bytes;
  }

 private:
  void CopyIn(const void* from, size_t bytes) {
    device_.CopyIn(from, bytes, size_t(static_cast<const std::byte*>(from) - host_.data()));
  }

  KvView host_view_;
  std::vector<std::byte> host_;
  DeviceBytes device_;
};

}  // namespace baton::kernels::cuda::testing
