#include "common/engine/kv_mirror.h"

#include <utility>
#include <vector>

#include "common/base/check.h"

namespace baton::engine {
namespace {

using kernels::HostCopy;

class DeviceSwapStore : public SwapStore {
 public:
  DeviceSwapStore(kernels::Backend& backend, const kernels::KvView& kv, int32_t num_slots)
      : backend_(backend),
        kv_(kv),
        num_slots_(num_slots),
        bytes_(static_cast<size_t>(num_slots) * kv.block_bytes()),
        memory_(new std::byte[bytes_]),
        pinned_(backend.PinHost(memory_.get(), bytes_)) {
    CHECK(kv.base != nullptr, "swap store for a pool without memory");
  }
  ~DeviceSwapStore() override {
    if (pinned_) backend_.UnpinHost(memory_.get());
  }

  int32_t num_slots() const override { return num_slots_; }
  size_t block_bytes() const override { return kv_.block_bytes(); }

  // Neighbours of one direction travel together; the next ones may need the slots they leave.
  void Copy(std::span<const BlockCopy> copies) override {
    while (!copies.empty()) {
      const BlockCopy::Direction direction = copies.front().direction;
      std::vector<HostCopy> pieces;
      size_t count = 0;
      for (; count < copies.size() && copies[count].direction == direction; ++count) {
        AddPieces(copies[count], pieces);
      }
      if (direction == BlockCopy::Direction::kToHost) {
        backend_.CopyAllToHost(pieces);
      } else {
        backend_.CopyAllToDevice(pieces);
      }
      copies = copies.subspan(count);
    }
  }

 private:
  void AddPieces(const BlockCopy& copy, std::vector<HostCopy>& pieces) {
    CHECK(copy.host_slot >= 0 && copy.host_slot < num_slots_, "slot {} of {}", copy.host_slot,
          num_slots_);
    const size_t bytes = kv_.block_layer_bytes();
    std::byte* host = memory_.get() + static_cast<size_t>(copy.host_slot) * kv_.block_bytes();
    for (int32_t layer = 0; layer < kv_.num_layers; ++layer, host += bytes) {
      pieces.push_back({kv_.piece(layer, copy.block.value()), host, bytes});
    }
  }

  kernels::Backend& backend_;
  const kernels::KvView kv_;
  const int32_t num_slots_;
  const size_t bytes_;
  const std::unique_ptr<std::byte[]> memory_;
  const bool pinned_;
};

}  // namespace

KvMirror::KvMirror(std::vector<Rank> ranks) : ranks_(std::move(ranks)) {
  for (const Rank& rank : ranks_) {
    CHECK(rank.device.base != nullptr && rank.host.base != nullptr, "a mirror without memory");
    CHECK(rank.device.pool_bytes() == rank.host.pool_bytes() &&
              rank.device.block_layer_bytes() == rank.host.block_layer_bytes(),
          "the mirror has another geometry than the pool");
  }
}

void KvMirror::ToHost(int32_t layer, std::span<const BlockId> blocks) {
  for (const Rank& rank : ranks_) {
    std::vector<HostCopy> pieces;
    pieces.reserve(blocks.size());
    for (const BlockId block : blocks) {
      pieces.push_back({rank.device.piece(layer, block.value()),
                        rank.host.piece(layer, block.value()), rank.device.block_layer_bytes()});
    }
    rank.backend->CopyAllToHost(pieces);
  }
}

void KvMirror::ToDevice(std::span<const BlockId> blocks) {
  for (const Rank& rank : ranks_) {
    std::vector<HostCopy> pieces;
    pieces.reserve(blocks.size() * static_cast<size_t>(rank.device.num_layers));
    for (const BlockId block : blocks) {
      for (int32_t layer = 0; layer < rank.device.num_layers; ++layer) {
        pieces.push_back({rank.device.piece(layer, block.value()),
                          rank.host.piece(layer, block.value()), rank.device.block_layer_bytes()});
      }
    }
    rank.backend->CopyAllToDevice(pieces);
  }
}

std::unique_ptr<SwapStore> MakeDeviceSwapStore(kernels::Backend& backend, const kernels::KvView& kv,
                                               int32_t num_slots) {
  return std::make_unique<DeviceSwapStore>(backend, kv, num_slots);
}

}  // namespace baton::engine
