#include "common/engine/swap_store.h"

#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

class HostSwapStore : public SwapStore {
 public:
  HostSwapStore(const kernels::KvView& kv, int32_t num_slots)
      : kv_(kv), num_slots_(num_slots), memory_(new std::byte[num_slots * kv.block_bytes()]) {
    CHECK(kv.base != nullptr, "swap store for a pool without memory");
  }

  int32_t num_slots() const override { return num_slots_; }
  size_t block_bytes() const override { return kv_.block_bytes(); }

  void Copy(std::span<const BlockCopy> copies) override {
    const size_t bytes = kv_.block_layer_bytes();
    for (const BlockCopy& copy : copies) {
      CHECK(copy.host_slot >= 0 && copy.host_slot < num_slots_, "slot {} of {}", copy.host_slot,
            num_slots_);
      std::byte* host = memory_.get() + copy.host_slot * kv_.block_bytes();
      for (int32_t layer = 0; layer < kv_.num_layers; ++layer, host += bytes) {
        std::byte* device = kv_.piece(layer, copy.block.value());
        const bool to_host = copy.direction == BlockCopy::Direction::kToHost;
        std::memcpy(to_host ? host : device, to_host ? device : host, bytes);
      }
    }
  }

 private:
  const kernels::KvView kv_;
  const int32_t num_slots_;
  const std::unique_ptr<std::byte[]> memory_;
};

class JoinedSwapStore : public SwapStore {
 public:
  explicit JoinedSwapStore(std::vector<std::unique_ptr<SwapStore>> ranks)
      : ranks_(std::move(ranks)) {
    for (const auto& rank : ranks_) {
      CHECK(rank->num_slots() == num_slots(), "{} slots beside {}", rank->num_slots(), num_slots());
      block_bytes_ += rank->block_bytes();
    }
  }

  int32_t num_slots() const override { return ranks_.front()->num_slots(); }
  size_t block_bytes() const override { return block_bytes_; }
  void Copy(std::span<const BlockCopy> copies) override {
    for (const auto& rank : ranks_) rank->Copy(copies);
  }

 private:
  const std::vector<std::unique_ptr<SwapStore>> ranks_;
  size_t block_bytes_ = 0;
};

}  // namespace

std::unique_ptr<SwapStore> MakeHostSwapStore(const kernels::KvView& kv, int32_t num_slots) {
  return std::make_unique<HostSwapStore>(kv, num_slots);
}

std::unique_ptr<SwapStore> JoinSwapStores(std::vector<std::unique_ptr<SwapStore>> ranks) {
  CHECK(!ranks.empty(), "no swap store to join");
  if (ranks.size() == 1) return std::move(ranks.front());
  return std::make_unique<JoinedSwapStore>(std::move(ranks));
}

}  // namespace baton::engine
