#include "common/engine/testing/chain_runner.h"

#include <algorithm>
#include <map>
#include <set>

#include "common/base/check.h"
#include "fmt/format.h"

namespace baton::engine::testing {
namespace {

uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x165667b19e3779f9u;
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t Start(int32_t layer) { return Mix(0x6261746f6e, layer); }

uint64_t Link(uint64_t previous, int32_t token, int32_t position) {
  return Mix(Mix(previous, token), position);
}

uint64_t FloatBits(float value) { return static_cast<uint64_t>(value * 1024); }

// Depends on everything sampling may depend on.
uint64_t Draw(uint64_t state, const kernels::SampleArgs& args) {
  uint64_t hash = Mix(state, args.draw);
  hash = Mix(hash, args.temperature == 0 ? 0 : args.seed);
  hash = Mix(hash, FloatBits(args.top_p) + 7 * FloatBits(args.min_p) + args.top_k);
  if (args.repetition_penalty != 1) {
    for (int32_t token : args.prompt_tokens_seen) hash = Mix(hash, token);
  }
  if (args.repetition_penalty != 1 || args.presence_penalty != 0 || args.frequency_penalty != 0) {
    for (const auto& [token, count] : args.output_counts) hash = Mix(Mix(hash, token), count);
  }
  for (const auto& [token, bias] : args.logit_bias) hash = Mix(Mix(hash, token), FloatBits(bias));
  return hash;
}

kernels::SampledToken Sample(uint64_t state, const kernels::SampleArgs& args, int32_t vocab) {
  const uint64_t draw = Draw(state, args);
  const std::set<int32_t> banned(args.banned.begin(), args.banned.end());
  kernels::SampledToken sampled;
  sampled.token = static_cast<int32_t>(draw % vocab);
  while (banned.contains(sampled.token)) sampled.token = (sampled.token + 1) % vocab;
  if (args.num_logprobs < 0) return sampled;
  sampled.logprob = -static_cast<float>(draw % 4096) / 512;
  for (int32_t i = 0; i < args.num_logprobs; ++i) {
    sampled.top.push_back({static_cast<int32_t>(Mix(draw, i) % vocab), -float(i)});
  }
  return sampled;
}

// Depends on the context before the token, and on the token.
kernels::SampledToken Score(uint64_t state, const model::StepScore& score, int32_t vocab) {
  kernels::SampledToken scored;
  scored.token = score.token;
  scored.logprob = -static_cast<float>(Mix(state, score.token) % 4096) / 512;
  for (int32_t i = 0; i < score.num_logprobs; ++i) {
    scored.top.push_back({static_cast<int32_t>(Mix(~state, i) % vocab), -float(i)});
  }
  return scored;
}

uint64_t StateAfter(std::span<const int32_t> tokens, int32_t num_layers) {
  uint64_t state = 0;
  for (int32_t layer = 0; layer < num_layers; ++layer) {
    uint64_t link = Start(layer);
    for (size_t i = 0; i < tokens.size(); ++i) link = Link(link, tokens[i], int32_t(i));
    state = Mix(state, link);
  }
  return state;
}

// The prompt's tokens but those that are earlier output, the first one without a score.
std::vector<GeneratedToken> ScorePrompt(const SequenceSpec& spec, const model::ModelInfo& info) {
  std::vector<GeneratedToken> told;
  if (!spec.sampling.prompt_logprobs) return told;
  const int32_t wanted = *spec.sampling.prompt_logprobs;
  const std::span<const int32_t> prompt(spec.prompt);
  for (size_t i = 0; i < prompt.size() - spec.resumed_tokens; ++i) {
    GeneratedToken token{.token = prompt[i], .logprob = {}, .top = {}};
    if (i > 0) {
      const auto scored = Score(StateAfter(prompt.first(i), info.num_layers),
                                {.row = 0, .token = prompt[i], .num_logprobs = wanted}, info.vocab);
      token.logprob = scored.logprob;
      for (const auto& [id, logprob] : scored.top) token.top.push_back({id, logprob});
    }
    told.push_back(std::move(token));
  }
  return told;
}

}  // namespace

// What lies in K (value = false) and V (value = true) of one token.
struct ChainRunner::Slot {
  uint64_t link;
  int32_t token;
  int32_t position;
};

ChainRunner::ChainRunner(const ChainModelOptions& options) : looks_ahead_(options.looks_ahead) {
  info_.name = "chain";
  info_.vocab = options.vocab;
  info_.context_tokens_max = options.context_tokens_max;
  info_.num_layers = options.num_layers;
  info_.num_kv_heads = 1;
  info_.head_dim = sizeof(Slot) / sizeof(float);
  info_.kv_dtype = kernels::DType::kF32;
  info_.eos_token_ids = options.eos_token_ids;
  info_.fingerprint = "chain";
}

kernels::KvView ChainRunner::KvGeometry(int32_t num_blocks, int32_t block_tokens) const {
  return {.base = nullptr,
          .dtype = info_.kv_dtype,
          .num_layers = info_.num_layers,
          .num_blocks = num_blocks,
          .block_tokens = block_tokens,
          .num_kv_heads = info_.num_kv_heads,
          .head_dim = info_.head_dim};
}

const kernels::KvView& ChainRunner::AllocateKv(int32_t num_blocks, int32_t block_tokens) {
  kv_ = KvGeometry(num_blocks, block_tokens);
  memory_.resize(kv_.pool_bytes());
  for (size_t i = 0; i < memory_.size(); ++i) memory_[i] = static_cast<std::byte>(Mix(i, 1));
  kv_.base = memory_.data();
  return kv_;
}

ChainRunner::Begun::Begun(const model::StepBatch& from) : batch(from) {
  for (model::StepSequence& sequence : batch.sequences) {
    sequence.block_table =
        ids.emplace_back(sequence.block_table.begin(), sequence.block_table.end());
  }
  for (kernels::SampleArgs& args : batch.samples) {
    args.banned = ids.emplace_back(args.banned.begin(), args.banned.end());
    args.prompt_tokens_seen =
        ids.emplace_back(args.prompt_tokens_seen.begin(), args.prompt_tokens_seen.end());
    args.logit_bias = biases.emplace_back(args.logit_bias.begin(), args.logit_bias.end());
    args.output_counts = counts.emplace_back(args.output_counts.begin(), args.output_counts.end());
  }
}

model::StepResult ChainRunner::Execute(const model::StepBatch& batch) {
  CHECK(begun_.empty(), "{} steps were begun and not finished", begun_.size());
  return Run(batch);
}

void ChainRunner::Begin(const model::StepBatch& batch) {
  CHECK(begun_.size() < 2, "{} steps were begun and not finished", begun_.size());
  begun_ahead_ += !begun_.empty();
  begun_.emplace_back(batch);
  if (!batch.on_layer) return;
  for (Begun& step : begun_) RunFirst(step);  // somebody waits for its layers
}

model::StepResult ChainRunner::Finish() {
  CHECK(!begun_.empty(), "no step was begun");
  RunFirst(begun_.front());
  model::StepResult result = *std::move(begun_.front().result);
  begun_.pop_front();
  return result;
}

// Of those that have not run.
void ChainRunner::RunFirst(Begun& step) {
  if (step.result) return;
  for (int32_t& token : step.batch.tokens) {
    if (token < 0) token = last_sampled_.at(-1 - token).token;
  }
  step.result = Run(step.batch);
  last_sampled_ = step.result->sampled;
}

model::StepResult ChainRunner::Run(const model::StepBatch& batch) {
  ++steps_;
  CHECK(!batch.tokens.empty() && kv_.base != nullptr, "an empty step, or no KV memory");
  if (clock_ != nullptr) clock_->Advance(per_token_ * batch.tokens.size());
  std::vector<uint64_t> states(batch.tokens.size(), 0);  // per token, over all layers
  for (int32_t layer = 0; layer < kv_.num_layers; ++layer) {
    size_t begin = 0;
    for (const model::StepSequence& sequence : batch.sequences) {
      std::vector<uint64_t> links(sequence.query_tokens);
      RunLayer(layer, sequence, batch.tokens.data() + begin, links);
      for (size_t i = 0; i < links.size(); ++i)
        states[begin + i] = Mix(states[begin + i], links[i]);
      begin += sequence.query_tokens;
    }
    CHECK(begin == batch.tokens.size(), "{} tokens in sequences, {} in the batch", begin,
          batch.tokens.size());
    if (batch.on_layer) batch.on_layer(layer);
  }
  logits_.clear();
  for (int32_t row : batch.logits_rows) {
    for (int32_t v = 0; v < info_.vocab; ++v) {
      logits_.push_back(static_cast<float>(Mix(states.at(row), v) >> 40));
    }
  }
  model::StepResult result;
  for (const kernels::SampleArgs& args : batch.samples) {
    result.sampled.push_back(Sample(states.at(batch.logits_rows.at(args.row)), args, info_.vocab));
  }
  for (const model::StepScore& score : batch.scores) {
    result.scored.push_back(Score(states.at(score.row), score, info_.vocab));
  }
  return result;
}

uint64_t ChainRunner::RunLayer(int32_t layer, const model::StepSequence& sequence,
                               const int32_t* tokens, std::vector<uint64_t>& links) {
  const int32_t first = sequence.context_tokens - sequence.query_tokens;
  CHECK(first >= 0 && sequence.query_tokens > 0, "{} of {} tokens", sequence.query_tokens,
        sequence.context_tokens);
  uint64_t link = Start(layer);
  for (int32_t position = 0; position < first; ++position) {
    const Slot& key = SlotAt(layer, sequence, position, false);
    link = Link(link, key.token, position);
    CheckLink(layer, sequence, position, link);
  }
  for (int32_t position = first; position < sequence.context_tokens; ++position) {
    const int32_t token = tokens[position - first];
    link = Link(link, token, position);
    SlotAt(layer, sequence, position, false) = {link, token, position};
    SlotAt(layer, sequence, position, true) = {~link, token, position};
    links[position - first] = link;
  }
  return link;
}

void ChainRunner::CheckLink(int32_t layer, const model::StepSequence& sequence, int32_t position,
                            uint64_t link) {
  const Slot& key = SlotAt(layer, sequence, position, false);
  const Slot& value = SlotAt(layer, sequence, position, true);
  const bool whole = key.link == link && key.position == position && value.link == ~link &&
                     value.token == key.token && value.position == position;
  if (whole) return;
  if (broken_links_++ > 0) return;
  first_broken_link_ =
      fmt::format("step {}, layer {}, position {} of {}: block {} holds token {} of position {}",
                  steps_, layer, position, sequence.context_tokens,
                  sequence.block_table[position / kv_.block_tokens], key.token, key.position);
}

ChainRunner::Slot& ChainRunner::SlotAt(int32_t layer, const model::StepSequence& sequence,
                                       int32_t position, bool value) {
  const size_t index = position / kv_.block_tokens;
  CHECK(index < sequence.block_table.size(), "position {} in {} blocks", position,
        sequence.block_table.size());
  const int32_t block = sequence.block_table[index];
  CHECK(block >= 0 && block < kv_.num_blocks, "block {} of {}", block, kv_.num_blocks);
  std::byte* piece = kv_.piece(layer, block) + (value ? kv_.head_bytes() : 0);
  return reinterpret_cast<Slot*>(piece)[position % kv_.block_tokens];
}

ChainOutput GenerateByChain(const SequenceSpec& spec, const model::ModelInfo& info,
                            int32_t context_tokens_max) {
  const SamplingParams& params = spec.sampling;
  const size_t fresh_prompt = spec.prompt.size() - spec.resumed_tokens;
  const std::set<int32_t> seen(spec.prompt.begin(), spec.prompt.begin() + fresh_prompt);
  const std::vector<int32_t> seen_list(seen.begin(), seen.end());
  std::set<int32_t> stops(params.stop_token_ids.begin(), params.stop_token_ids.end());
  if (!params.ignore_eos) stops.insert(info.eos_token_ids.begin(), info.eos_token_ids.end());
  const std::vector<int32_t> stop_list(stops.begin(), stops.end());

  std::vector<int32_t> tokens = spec.prompt;
  ChainOutput output;
  output.prompt = ScorePrompt(spec, info);
  if (params.max_tokens == 0) output.finish = FinishReason::kLength;
  while (output.finish == FinishReason::kNone) {
    const uint64_t state = StateAfter(tokens, info.num_layers);
    std::map<int32_t, int32_t> counts;
    for (size_t i = fresh_prompt; i < tokens.size(); ++i) ++counts[tokens[i]];
    const std::vector<std::pair<int32_t, int32_t>> count_list(counts.begin(), counts.end());

    const int32_t produced = static_cast<int32_t>(output.tokens.size());
    kernels::SampleArgs args;
    args.temperature = params.temperature;
    args.top_k = params.top_k;
    args.top_p = params.top_p;
    args.min_p = params.min_p;
    args.repetition_penalty = params.repetition_penalty;
    args.presence_penalty = params.presence_penalty;
    args.frequency_penalty = params.frequency_penalty;
    args.seed = params.seed.value_or(0);
    args.draw = spec.resumed_tokens + produced;
    args.num_logprobs = params.logprobs.value_or(-1);
    args.logit_bias = params.logit_bias;
    if (produced < params.min_tokens) args.banned = stop_list;
    args.output_counts = count_list;
    args.prompt_tokens_seen = seen_list;

    const kernels::SampledToken sampled = Sample(state, args, info.vocab);
    GeneratedToken token{.token = sampled.token, .logprob = {}, .top = {}};
    if (args.num_logprobs >= 0) token.logprob = sampled.logprob;
    for (const auto& [id, logprob] : sampled.top) token.top.push_back({id, logprob});
    output.tokens.push_back(token);
    tokens.push_back(sampled.token);
    if (produced >= params.min_tokens && stops.contains(sampled.token)) {
      output.finish = FinishReason::kStop;
    } else if (produced + 1 == params.max_tokens ||
               static_cast<int32_t>(tokens.size()) == context_tokens_max) {
      output.finish = FinishReason::kLength;
    }
  }
  return output;
}

}  // namespace baton::engine::testing
