#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "common/model/model_runner.h"
#include "kernels/backend.h"

namespace baton::oracle {

// Drives a ModelRunner over a paged KV pool with as little of an engine as possible: sequences take
// blocks in a shuffled order, so that no result can depend on where a block lies.
class PagedDriver {
 public:
  PagedDriver(model::ModelRunner& runner, kernels::Backend& backend, int32_t num_blocks,
              int32_t block_tokens, uint64_t shuffle_seed);

  // A new, empty sequence.
  int AddSequence();

  struct Piece {
    int sequence = 0;
    std::vector<int32_t> tokens;  // to append in this step
  };
  using Logits = std::vector<std::vector<float>>;
  // One step over the pieces, in their order. Returns the logits of every token of every piece.
  Logits Step(std::span<const Piece> pieces);
  // One step that asks for the logits of the last token of each piece only, as an engine does; the
  // greedy pick of each.
  std::vector<int32_t> StepGreedy(std::span<const Piece> pieces);

  // Logits of the last Step(Greedy).
  Logits last_logits() const;
  // Layers that on_layer() named during the last step.
  const std::vector<int32_t>& layers_seen() const { return layers_seen_; }
  // The K and V bytes of one position of a sequence in one layer, all heads, with their scales.
  std::vector<std::byte> KvAt(int sequence, int32_t position, int32_t layer) const;

 private:
  model::StepBatch MakeBatch(std::span<const Piece> pieces);
  void Grow(int sequence, int32_t tokens);

  struct Sequence {
    int32_t context_tokens = 0;
    std::vector<int32_t> blocks;
  };

  model::ModelRunner& runner_;
  kernels::Backend& backend_;
  kernels::KvView kv_;
  std::unique_ptr<kernels::Buffer> pool_;
  std::vector<int32_t> free_blocks_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> layers_seen_;
};

}  // namespace baton::oracle
