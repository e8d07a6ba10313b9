#include "common/model/transformer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/check.h"
#include "kernels/activation_row.h"

namespace baton::model {

using kernels::GemmOutput;

namespace {

std::unique_ptr<kernels::Buffer> Upload(kernels::Backend& backend,
                                        const std::vector<float>& values) {
  auto buffer = backend.Allocate(values.size() * sizeof(float));
  backend.CopyToDevice(values.data(), buffer->data(), values.size() * sizeof(float));
  return buffer;
}

// No batch is filled up to more than twice its rows.
size_t PaddedSamples(const TransformerOptions& options) {
  return 2 * size_t(options.logits_rows_max);
}

// Bytes of each piece of scratch memory.
struct Scratch {
  Scratch(const HfConfig& config, const Shard& shard, const TransformerOptions& options,
          kernels::DType activation) {
    const size_t t = options.step_tokens_max, r = options.logits_rows_max;
    const size_t q_row = size_t(shard.q_heads.count) * config.head_dim;
    const size_t kv_row = size_t(shard.kv_heads.count) * config.head_dim;
    const size_t f32 = sizeof(float);
    const auto act = [&](int64_t width) { return ActivationRowBytes(activation, width); };
    const size_t rows = std::max(t, r);  // a row may be asked for twice
    residual = t * config.hidden * f32;
    // The head may take another type than the layers do.
    normed = rows * std::max(act(config.hidden), config.hidden * f32);
    qkv = t * (q_row + 2 * kv_row) * f32;
    q = t * q_row * f32;
    attended = rows * act(int64_t(q_row));
    gate_up = rows * 2 * shard.intermediate.count * f32;
    mlp = rows * act(shard.intermediate.count);
    last_residual = r * config.hidden * f32;
    last_q = r * q_row * f32;
    logits = r * config.vocab * f32;
    sampled = PaddedSamples(options) * sizeof(int32_t);
    own_logits = shard.vocab_parallel ? r * shard.vocab.count * f32 : 0;
    all_logits = own_logits * shard.size;
  }
  size_t sum() const {
    return residual + normed + qkv + q + attended + gate_up + mlp + last_residual + last_q +
           logits + sampled + own_logits + all_logits;
  }
  size_t residual, normed, qkv, q, attended, gate_up, mlp, last_residual, last_q, logits, sampled;
  size_t own_logits, all_logits;
};

const float* DataOf(const kernels::Vector& vector) {
  return vector == nullptr ? nullptr : vector->as<float>();
}

}  // namespace

ModelInfo InfoOf(const HfConfig& config, std::string name, int32_t context_tokens_max) {
  ModelInfo info;
  info.name = std::move(name);
  info.vocab = config.vocab;
  info.context_tokens_max = context_tokens_max == 0
                                ? config.max_positions
                                : std::min(config.max_positions, context_tokens_max);
  info.num_layers = config.num_layers;
  info.num_kv_heads = config.num_kv_heads;
  info.head_dim = config.head_dim;
  info.eos_token_ids = config.eos_token_ids;
  info.num_parameters = config.num_parameters();
  return info;
}

size_t ScratchBytes(const HfConfig& config, const Shard& shard, const TransformerOptions& options,
                    kernels::DType activation) {
  const int32_t positions = InfoOf(config, "", options.context_tokens_max).context_tokens_max;
  const size_t rope = sizeof(float) * size_t(positions) * size_t(config.head_dim);
  return rope + Scratch(config, shard, options, activation).sum();
}

Transformer::Transformer(HfConfig config, Weights weights, kernels::Backend& backend,
                         const TransformerOptions& options, RankOptions rank)
    : config_(std::move(config)),
      rank_(std::move(rank)),
      weights_(std::move(weights)),
      backend_(backend),
      options_(options),
      info_(InfoOf(config_, options.name, options.context_tokens_max)),
      activation_(backend.activation_dtype(weights_.types.matrices)),
      head_activation_(backend.activation_dtype(weights_.types.head)) {
  CHECK((rank_.shard.size == 1) == (rank_.collective == nullptr), "rank {} of {}", rank_.shard.rank,
        rank_.shard.size);
  info_.kv_dtype = options.kv_dtype;
  info_.fingerprint = options.fingerprint;
  const RopeTables tables =
      MakeRopeTables(config_.rope, config_.head_dim, info_.context_tokens_max);
  rope_cos_ = Upload(backend_, tables.cos);
  rope_sin_ = Upload(backend_, tables.sin);

  const Scratch scratch(config_, rank_.shard, options, activation_);
  residual_ = backend_.Allocate(scratch.residual);
  normed_ = backend_.Allocate(scratch.normed);
  qkv_ = backend_.Allocate(scratch.qkv);
  q_ = backend_.Allocate(scratch.q);
  attended_ = backend_.Allocate(scratch.attended);
  gate_up_ = backend_.Allocate(scratch.gate_up);
  mlp_ = backend_.Allocate(scratch.mlp);
  last_residual_ = backend_.Allocate(scratch.last_residual);
  last_q_ = backend_.Allocate(scratch.last_q);
  logits_ = backend_.Allocate(scratch.logits);
  sampled_ = backend_.Allocate(scratch.sampled);
  CHECK(size_t(backend_.PaddedRows(options.logits_rows_max)) <= PaddedSamples(options));
  host_tokens_.resize(2 * size_t(options.logits_rows_max));
  if (rank_.shard.vocab_parallel) {
    own_logits_ = backend_.Allocate(scratch.own_logits);
    all_logits_ = backend_.Allocate(scratch.all_logits);
    logits_parts_.reserve(size_t(options.logits_rows_max) * rank_.shard.size);
  }
  PrepareGemms();
  const size_t t = static_cast<size_t>(options.step_tokens_max);
  tokens_.reserve(t);
  positions_.reserve(t);
  slots_.reserve(t);
  sequence_of_.reserve(t);
}

// What WriteKv, AttendAndMix and ComputeLogits will ask for, on the same memory.
void Transformer::PrepareGemms() {
  const int32_t t = options_.step_tokens_max, r = options_.logits_rows_max;
  std::vector<kernels::GemmUse> uses;
  for (const LayerWeights& w : weights_.layers) {
    uses.push_back({w.qkv.get(), DataOf(w.qkv_bias), GemmOutput::kStore, t, normed_->data(),
                    qkv_->as<float>()});
    uses.push_back({w.o.get(), DataOf(w.o_bias), ProjectedOutput(), t, attended_->data(),
                    residual_->as<float>()});
    uses.push_back({w.gate_up.get(), DataOf(w.gate_up_bias), GemmOutput::kStore, t, normed_->data(),
                    gate_up_->as<float>()});
    uses.push_back({w.down.get(), DataOf(w.down_bias), ProjectedOutput(), t, mlp_->data(),
                    residual_->as<float>()});
  }
  kernels::Buffer& logits = rank_.shard.vocab_parallel ? *own_logits_ : *logits_;
  uses.push_back(
      {&weights_.head(), nullptr, GemmOutput::kStore, r, normed_->data(), logits.as<float>()});
  backend_.PrepareGemms(uses);
}

kernels::KvView Transformer::KvGeometry(int32_t num_blocks, int32_t block_tokens) const {
  kernels::KvView kv;
  kv.dtype = options_.kv_dtype;
  kv.num_layers = config_.num_layers;
  kv.num_blocks = num_blocks;
  kv.block_tokens = block_tokens;
  kv.num_kv_heads = rank_.shard.kv_heads.count;
  kv.head_dim = config_.head_dim;
  return kv;
}

void Transformer::BindRankKv(int32_t rank, const kernels::KvView& kv) {
  CHECK(rank == rank_.shard.rank, "the KV pool of rank {} for rank {}", rank, rank_.shard.rank);
  const kernels::KvView own = KvGeometry(kv.num_blocks, kv.block_tokens);
  CHECK(kv.base != nullptr && kv.num_blocks > 0 && kv.block_tokens > 0);
  CHECK(kv.dtype == own.dtype && kv.pool_bytes() == own.pool_bytes() &&
            kv.block_layer_bytes() == own.block_layer_bytes(),
        "the KV pool has another geometry than the model");
  kv_ = kv;
}

Transformer::~Transformer() {
  while (!begun_.empty()) Finish();  // the scratch memory is in use until then
}

StepResult Transformer::Execute(const StepBatch& batch) {
  Begin(batch);
  return Finish();
}

void Transformer::BeginStep(const StepBatch& batch,
                            const std::function<void(int32_t layer)>& on_layer) {
  CheckBatch(batch);
  PlanRows(batch);
  PadRows(batch);
  const int32_t num_tokens = int32_t(tokens_.size());
  const Rows all{residual_->as<float>(), q_->as<float>(), num_tokens, sequences_};
  host_logits_valid_ = false;

  backend_.Embed(*weights_.embedding, tokens_.data(), sampled_->as<int32_t>(), num_tokens,
                 all.residual);
  for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
    WriteKv(layer, num_tokens);
    if (on_layer) {
      backend_.Synchronize();
      on_layer(layer);
    }
    if (layer + 1 < config_.num_layers) AttendAndMix(layer, all);
  }
  Begun begun;
  begun.result.scored = Score(batch.scores);
  ComputeLogits(batch.logits_rows);  // last: these are last_logits()
  SampleTokens(batch, begun);
  begun.copy = backend_.CopyToHostLater(sampled_->data(), HostTokensOf(num_begun_).data(),
                                        size_t(begun.num_copied) * sizeof(int32_t));
  ++num_begun_;
  begun_.push_back(std::move(begun));
}

// Every rank is to have the tokens in sampled_, for the step that is begun next.
void Transformer::SampleTokens(const StepBatch& batch, Begun& begun) {
  const std::span<const kernels::SampleArgs> samples = batch.samples;
  if (samples.empty()) return;
  // A row may be sampled many times, but not for another step.
  const bool fits = samples.size() <= size_t(options_.logits_rows_max);
  begun.num_to_come = fits ? int32_t(samples.size()) : 0;
  const size_t bytes = size_t(begun.num_to_come) * sizeof(int32_t);
  const float* logits = logits_->as<float>();
  if (rank_.shard.rank == 0) {
    begun.result.sampled.resize(samples.size());
    if (fits && backend_.CanSampleAhead(samples)) {
      backend_.SampleAhead(logits, config_.vocab, samples, sampled_->as<int32_t>());
      begun.num_copied = int32_t(samples.size());
    } else {
      backend_.Sample(logits, config_.vocab, samples, begun.result.sampled);
      std::vector<int32_t> tokens(size_t(begun.num_to_come));
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = begun.result.sampled[i].token;
      if (fits) backend_.CopyToDevice(tokens.data(), sampled_->data(), bytes);
    }
  }
  if (rank_.collective == nullptr || !looks_ahead() || !fits) return;
  Expect(rank_.collective->Broadcast(sampled_->data(), bytes, /*root=*/0));
}

StepResult Transformer::Finish() {
  CHECK(!begun_.empty(), "no step was begun");
  Begun begun = std::move(begun_.front());
  backend_.WaitForCopy(begun.copy);
  const std::span<int32_t> tokens = HostTokensOf(num_begun_ - begun_.size());
  begun_.pop_front();
  for (int32_t i = 0; i < begun.num_copied; ++i) begun.result.sampled[i].token = tokens[i];
  return std::move(begun.result);
}

std::span<int32_t> Transformer::HostTokensOf(uint64_t step) {
  const size_t half = host_tokens_.size() / 2;
  return std::span(host_tokens_).subspan(step % 2 * half, half);
}

void Transformer::CheckBatch(const StepBatch& batch) const {
  const int64_t num_tokens = int64_t(batch.tokens.size());
  CHECK(kv_.base != nullptr, "Execute before BindKv");
  CHECK(num_tokens >= 1 && num_tokens <= options_.step_tokens_max, "{} tokens, the limit is {}",
        num_tokens, options_.step_tokens_max);
  CHECK(int64_t(batch.logits_rows.size()) <= options_.logits_rows_max,
        "{} rows of logits, the limit is {}", batch.logits_rows.size(), options_.logits_rows_max);
  CHECK(begun_.size() < 2, "{} steps were begun and not finished", begun_.size());
  const int32_t tokens_to_come = begun_.empty() ? 0 : begun_.back().num_to_come;
  for (const int32_t token : batch.tokens) {
    CHECK(token >= TokenToCome(tokens_to_come - 1) && token < config_.vocab,
          "token {} of {}, {} to come", token, config_.vocab, tokens_to_come);
  }
  for (const int32_t row : batch.logits_rows) {
    CHECK(row >= 0 && row < num_tokens, "logits of row {} of {}", row, num_tokens);
  }
  for (const kernels::SampleArgs& sample : batch.samples) {
    CHECK(sample.row >= 0 && size_t(sample.row) < batch.logits_rows.size(),
          "sample from row {} of {}", sample.row, batch.logits_rows.size());
  }
  for (const StepScore& score : batch.scores) {
    CHECK(score.row >= 0 && score.row < num_tokens, "score of row {} of {}", score.row, num_tokens);
    CHECK(score.token >= 0 && score.token < config_.vocab, "token {} of {}", score.token,
          config_.vocab);
  }
}

// Where every token of the step stands in its sequence and in the KV pool.
void Transformer::PlanRows(const StepBatch& batch) {
  positions_.clear();
  slots_.clear();
  sequence_of_.clear();
  sequences_.clear();
  for (const StepSequence& s : batch.sequences) {
    CHECK(s.query_tokens >= 1 && s.query_tokens <= s.context_tokens &&
              s.context_tokens <= info_.context_tokens_max,
          "{} new of {} tokens, the context is {}", s.query_tokens, s.context_tokens,
          info_.context_tokens_max);
    const int64_t blocks = (s.context_tokens + kv_.block_tokens - 1) / kv_.block_tokens;
    CHECK(int64_t(s.block_table.size()) >= blocks, "{} blocks for {} tokens", s.block_table.size(),
          s.context_tokens);
    for (int64_t i = 0; i < blocks; ++i) {
      CHECK(s.block_table[i] >= 0 && s.block_table[i] < kv_.num_blocks, "block {} of {}",
            s.block_table[i], kv_.num_blocks);
    }
    const int32_t index = int32_t(sequences_.size());
    sequences_.push_back(
        {int32_t(positions_.size()), s.query_tokens, s.context_tokens, s.block_table.data()});
    for (int32_t p = s.context_tokens - s.query_tokens; p < s.context_tokens; ++p) {
      positions_.push_back(p);
      slots_.push_back(s.block_table[p / kv_.block_tokens] * kv_.block_tokens +
                       p % kv_.block_tokens);
      sequence_of_.push_back(index);
    }
  }
  CHECK(positions_.size() == batch.tokens.size(), "{} tokens, sequences have {}",
        batch.tokens.size(), positions_.size());
}

// A step of nothing but decodes is filled up to one of few sizes, with rows that write no K and V
// and attend to one token that is there. Nobody reads what comes of them.
void Transformer::PadRows(const StepBatch& batch) {
  tokens_.assign(batch.tokens.begin(), batch.tokens.end());
  is_padded_ = batch.tokens.size() == batch.sequences.size() && batch.scores.empty();
  if (!is_padded_) return;
  const int32_t rows = int32_t(tokens_.size());
  const int32_t padded = std::min(backend_.PaddedRows(rows), options_.step_tokens_max);
  const kernels::AttentionSequence first = sequences_.front();
  const int32_t last_block = (first.context_tokens - 1) / kv_.block_tokens;
  for (int32_t row = rows; row < padded; ++row) {
    tokens_.push_back(tokens_.front());
    positions_.push_back(0);
    slots_.push_back(-1);
    sequence_of_.push_back(row);
    sequences_.push_back({row, 1, 1, first.block_table + last_block});
  }
}

// The logits rows as sequences of their own: each run of neighbours in one sequence ends at the
// position of its last row, which is all that causal attention needs to know.
void Transformer::PlanLogitsRows(std::span<const int32_t> rows) {
  last_sequences_.clear();
  int32_t previous = -2;
  for (int32_t i = 0; i < int32_t(rows.size()); ++i) {
    const int32_t row = rows[i];
    const bool joins = row == previous + 1 && sequence_of_[row] == sequence_of_[previous];
    if (joins) {
      ++last_sequences_.back().query_tokens;
      ++last_sequences_.back().context_tokens;
    } else {
      last_sequences_.push_back(
          {i, 1, positions_[row] + 1, sequences_[sequence_of_[row]].block_table});
    }
    previous = row;
  }
}

void Transformer::WriteKv(int32_t layer, int32_t num_tokens) {
  const LayerWeights& w = weights_.layers[layer];
  backend_.RmsNorm(residual_->as<float>(), w.input_norm->as<float>(), config_.rms_norm_epsilon,
                   num_tokens, config_.hidden, activation_, normed_->data());
  backend_.Gemm(normed_->data(), *w.qkv, DataOf(w.qkv_bias), num_tokens, GemmOutput::kStore,
                qkv_->as<float>());
  kernels::QkvArgs args;
  args.qkv = qkv_->as<float>();
  args.num_tokens = num_tokens;
  args.num_q_heads = rank_.shard.q_heads.count;
  args.q_norm = DataOf(w.q_norm);
  args.k_norm = DataOf(w.k_norm);
  args.norm_epsilon = config_.rms_norm_epsilon;
  args.rope = {rope_cos_->as<float>(), rope_sin_->as<float>(), info_.context_tokens_max};
  args.positions = positions_.data();
  args.slots = slots_.data();
  backend_.RopeAndWriteKv(args, kv_, layer, q_->as<float>());
}

void Transformer::AttendAndMix(int32_t layer, const Rows& rows) {
  const LayerWeights& w = weights_.layers[layer];
  const float scale = float(1 / std::sqrt(double(config_.head_dim)));
  backend_.Attention(rows.q, kv_, layer, rank_.shard.q_heads.count, rows.sequences, scale,
                     config_.layer_windows[layer], activation_, attended_->data());
  AddProjected(attended_->data(), *w.o, w.o_bias, rows);
  backend_.RmsNorm(rows.residual, w.mlp_norm->as<float>(), config_.rms_norm_epsilon, rows.count,
                   config_.hidden, activation_, normed_->data());
  backend_.Gemm(normed_->data(), *w.gate_up, DataOf(w.gate_up_bias), rows.count, GemmOutput::kStore,
                gate_up_->as<float>());
  backend_.SiluMul(gate_up_->as<float>(), rows.count, rank_.shard.intermediate.count, activation_,
                   mlp_->data());
  AddProjected(mlp_->data(), *w.down, w.down_bias, rows);
}

GemmOutput Transformer::ProjectedOutput() const {
  return rank_.shard.rank == 0 ? GemmOutput::kAdd : GemmOutput::kStore;
}

// residual += x w^T + bias, where w has this rank's inputs only.
void Transformer::AddProjected(const void* x, const kernels::Matrix& w, const kernels::Vector& bias,
                               const Rows& rows) {
  backend_.Gemm(x, w, DataOf(bias), rows.count, ProjectedOutput(), rows.residual);
  if (rank_.collective == nullptr) return;
  Expect(rank_.collective->AllReduceSum(rows.residual, size_t(rows.count) * config_.hidden));
}

// A lost rank leaves a step that cannot be finished: nothing on the device can be trusted to be
// what the others have.
void Transformer::Expect(bool done) {
  if (done) return;
  const std::string what = fmt::format("tensor-parallel rank {} of {}: {}", rank_.shard.rank,
                                       rank_.shard.size, rank_.collective->failure());
  if (rank_.on_failure) rank_.on_failure(what);
  CHECK(false, "{}", what);
}

Transformer::Rows Transformer::GatherLogitsRows(std::span<const int32_t> rows) {
  const size_t q_bytes = size_t(rank_.shard.q_heads.count) * config_.head_dim * sizeof(float);
  backend_.GatherRows(residual_->data(), rows, config_.hidden * sizeof(float),
                      last_residual_->data());
  backend_.GatherRows(q_->data(), rows, q_bytes, last_q_->data());
  return {last_residual_->as<float>(), last_q_->as<float>(), int32_t(rows.size()), last_sequences_};
}

// The rest of the last layer and the head, for at most R rows. Leaves the residual stream and the
// queries of all rows as they are, so it may be called again for others.
void Transformer::ComputeLogits(std::span<const int32_t> wanted) {
  num_logits_rows_ = int32_t(wanted.size());
  if (wanted.empty()) return;
  logits_rows_.assign(wanted.begin(), wanted.end());
  if (is_padded_) {
    const int32_t padded =
        std::min(backend_.PaddedRows(num_logits_rows_), options_.logits_rows_max);
    logits_rows_.resize(size_t(std::max(padded, num_logits_rows_)), wanted.back());
  }
  PlanLogitsRows(logits_rows_);
  const Rows rows = GatherLogitsRows(logits_rows_);
  AttendAndMix(config_.num_layers - 1, rows);
  backend_.RmsNorm(rows.residual, weights_.final_norm->as<float>(), config_.rms_norm_epsilon,
                   rows.count, config_.hidden, head_activation_, normed_->data());
  kernels::Buffer& logits = rank_.shard.vocab_parallel ? *own_logits_ : *logits_;
  backend_.Gemm(normed_->data(), weights_.head(), nullptr, rows.count, GemmOutput::kStore,
                logits.as<float>());
  if (rank_.shard.vocab_parallel) GatherVocabulary(rows.count);
}

// logits = every rank's part of each row side by side; they come rank by rank.
void Transformer::GatherVocabulary(int32_t rows) {
  const int32_t size = rank_.shard.size;
  const size_t part_bytes = size_t(rank_.shard.vocab.count) * sizeof(float);
  Expect(rank_.collective->AllGather(own_logits_->data(), size_t(rows) * part_bytes,
                                     all_logits_->data()));
  if (rank_.shard.rank != 0) return;
  logits_parts_.clear();
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t r = 0; r < size; ++r) logits_parts_.push_back(r * rows + row);
  }
  backend_.GatherRows(all_logits_->data(), logits_parts_, part_bytes, logits_->data());
}

// How the scores are sliced does not show in the bits: every row is computed by itself.
std::vector<kernels::SampledToken> Transformer::Score(std::span<const StepScore> scores) {
  std::vector<kernels::SampledToken> scored(scores.size());
  const size_t slice_rows = size_t(options_.logits_rows_max);
  for (size_t begin = 0; begin < scores.size(); begin += slice_rows) {
    const size_t count = std::min(slice_rows, scores.size() - begin);
    score_rows_.clear();
    score_args_.clear();
    for (const StepScore& score : scores.subspan(begin, count)) {
      score_args_.push_back({.row = int32_t(score_rows_.size()),
                             .given = score.token,
                             .num_logprobs = score.num_logprobs});
      score_rows_.push_back(score.row);
    }
    ComputeLogits(score_rows_);
    if (rank_.shard.rank != 0) continue;
    backend_.Sample(logits_->as<float>(), config_.vocab, score_args_,
                    std::span(scored).subspan(begin, count));
  }
  return scored;
}

std::span<const float> Transformer::last_logits() const {
  if (!host_logits_valid_) {
    host_logits_.resize(size_t(num_logits_rows_) * config_.vocab);
    const size_t bytes = host_logits_.size() * sizeof(float);
    if (bytes > 0) backend_.CopyToHost(logits_->data(), host_logits_.data(), bytes);
    host_logits_valid_ = true;
  }
  return host_logits_;
}

}  // namespace baton::model
