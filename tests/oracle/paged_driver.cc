#include "tests/oracle/paged_driver.h"

#include <algorithm>
#include <numeric>

#include "common/base/check.h"
#include "kernels/kv_row.h"

namespace baton::oracle {

PagedDriver::PagedDriver(model::ModelRunner& runner, kernels::Backend& backend, int32_t num_blocks,
                         int32_t block_tokens, uint64_t shuffle_seed)
    : runner_(runner), backend_(backend), kv_(runner.KvGeometry(num_blocks, block_tokens)) {
  pool_ = backend.Allocate(kv_.pool_bytes());
  // What lies in a block before it is written must not matter: all ones are NaN in every dtype.
  const std::vector<std::byte> ones(kv_.pool_bytes(), std::byte{0xff});
  backend.CopyToDevice(ones.data(), pool_->data(), ones.size());
  kv_.base = pool_->data();
  runner_.BindKv(kv_);
  free_blocks_.resize(num_blocks);
  std::iota(free_blocks_.begin(), free_blocks_.end(), 0);
  std::shuffle(free_blocks_.begin(), free_blocks_.end(), std::mt19937_64(shuffle_seed));
}

int PagedDriver::AddSequence() {
  sequences_.emplace_back();
  return int(sequences_.size()) - 1;
}

void PagedDriver::Grow(int sequence, int32_t tokens) {
  Sequence& s = sequences_[sequence];
  s.context_tokens += tokens;
  while (int32_t(s.blocks.size()) * kv_.block_tokens < s.context_tokens) {
    CHECK(!free_blocks_.empty(), "the test's pool is too small");
    s.blocks.push_back(free_blocks_.back());
    free_blocks_.pop_back();
  }
}

model::StepBatch PagedDriver::MakeBatch(std::span<const Piece> pieces) {
  model::StepBatch batch;
  for (const Piece& piece : pieces) {
    Grow(piece.sequence, int32_t(piece.tokens.size()));
    const Sequence& s = sequences_[piece.sequence];
    batch.tokens.insert(batch.tokens.end(), piece.tokens.begin(), piece.tokens.end());
    batch.sequences.push_back({int32_t(piece.tokens.size()), s.context_tokens, s.blocks});
  }
  layers_seen_.clear();
  batch.on_layer = [this](int32_t layer) { layers_seen_.push_back(layer); };
  return batch;
}

PagedDriver::Logits PagedDriver::Step(std::span<const Piece> pieces) {
  model::StepBatch batch = MakeBatch(pieces);
  batch.logits_rows.resize(batch.tokens.size());
  std::iota(batch.logits_rows.begin(), batch.logits_rows.end(), 0);
  runner_.Execute(batch);
  return last_logits();
}

std::vector<int32_t> PagedDriver::StepGreedy(std::span<const Piece> pieces) {
  model::StepBatch batch = MakeBatch(pieces);
  int32_t row = -1;
  for (const Piece& piece : pieces) {
    row += int32_t(piece.tokens.size());
    kernels::SampleArgs greedy;
    greedy.row = int32_t(batch.logits_rows.size());
    greedy.temperature = 0;
    batch.logits_rows.push_back(row);
    batch.samples.push_back(greedy);
  }
  std::vector<int32_t> tokens;
  for (const kernels::SampledToken& sampled : runner_.Execute(batch).sampled) {
    tokens.push_back(sampled.token);
  }
  return tokens;
}

PagedDriver::Logits PagedDriver::last_logits() const {
  const std::span<const float> flat = runner_.last_logits();
  const size_t vocab = size_t(runner_.info().vocab);
  Logits rows;
  for (size_t at = 0; at < flat.size(); at += vocab) {
    rows.emplace_back(flat.begin() + std::ptrdiff_t(at), flat.begin() + std::ptrdiff_t(at + vocab));
  }
  return rows;
}

std::vector<std::byte> PagedDriver::KvAt(int sequence, int32_t position, int32_t layer) const {
  const int32_t block = sequences_[sequence].blocks[position / kv_.block_tokens];
  std::vector<std::byte> bytes;
  const auto append = [&](const void* from, size_t count) {
    bytes.resize(bytes.size() + count);
    backend_.CopyToHost(from, bytes.data() + bytes.size() - count, count);
  };
  for (const int part : {0, 1}) {
    for (int32_t head = 0; head < kv_.num_kv_heads; ++head) {
      const kernels::KvRow row = RowOf(kv_, layer, block, part, head, position % kv_.block_tokens);
      append(row.elements, kv_.row_bytes());
      if (row.scale != nullptr) append(row.scale, sizeof(float));
    }
  }
  return bytes;
}

}  // namespace baton::oracle
