#include "common/model/weights.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace baton::model {
namespace {

struct Part {
  std::string name;
  int64_t rows = 0;  // of a matrix; length of a vector
};

// Reads, packs and releases one group of tensors after another; remembers the first error, after
// which everything it returns is null, so that the list of weights below reads as a list.
class Packer {
 public:
  Packer(const HfConfig& config, WeightSource& source, kernels::DType dtype,
         kernels::Backend& backend, const LoadProgress& progress)
      : source_(source),
        dtype_(dtype),
        backend_(backend),
        progress_(progress),
        total_bytes_(config.num_parameters() * int64_t(BytesOf(source.dtype()))) {}

  MatrixPtr Matrix(const std::vector<Part>& parts, int64_t cols) {
    const auto host = Fetch(parts, cols, /*vector=*/false);
    if (!status_.ok()) return nullptr;
    MatrixPtr packed = backend_.LoadMatrix(host, dtype_);
    Finish(parts, host);
    return packed;
  }

  kernels::Vector Vector(bool present, const std::vector<Part>& parts) {
    if (!present) return nullptr;
    const auto host = Fetch(parts, 0, /*vector=*/true);
    if (!status_.ok()) return nullptr;
    kernels::Vector packed = backend_.LoadVector(host);
    Finish(parts, host);
    return packed;
  }

  const absl::Status& status() const { return status_; }

 private:
  std::vector<kernels::HostMatrix> Fetch(const std::vector<Part>& parts, int64_t cols,
                                         bool vector) {
    std::vector<kernels::HostMatrix> host;
    for (const Part& part : parts) {
      if (!status_.ok()) break;
      const auto matrix = vector ? source_.Get(part.name, 1, part.rows, true)
                                 : source_.Get(part.name, part.rows, cols, false);
      status_ = matrix.status();
      if (matrix.ok()) host.push_back(*matrix);
    }
    return host;
  }

  void Finish(const std::vector<Part>& parts, const std::vector<kernels::HostMatrix>& host) {
    for (const Part& part : parts) source_.Release(part.name);
    for (const auto& m : host) done_bytes_ += m.rows * m.cols * int64_t(BytesOf(m.dtype));
    if (progress_) progress_(done_bytes_, std::max(done_bytes_, total_bytes_));
  }

  WeightSource& source_;
  kernels::DType dtype_;
  kernels::Backend& backend_;
  const LoadProgress& progress_;
  int64_t total_bytes_;
  int64_t done_bytes_ = 0;
  absl::Status status_;
};

LayerWeights PackLayer(const HfConfig& c, int32_t layer, Packer& pack) {
  const std::string at = fmt::format("model.layers.{}.", layer);
  const std::string attn = at + "self_attn.", mlp = at + "mlp.";
  const int64_t q = int64_t{c.num_q_heads} * c.head_dim, kv = int64_t{c.num_kv_heads} * c.head_dim;
  const auto qkv = [&](std::string_view leaf) {
    return std::vector<Part>{{fmt::format("{}q_proj.{}", attn, leaf), q},
                             {fmt::format("{}k_proj.{}", attn, leaf), kv},
                             {fmt::format("{}v_proj.{}", attn, leaf), kv}};
  };
  const auto gate_up = [&](std::string_view leaf) {
    return std::vector<Part>{{fmt::format("{}gate_proj.{}", mlp, leaf), c.intermediate},
                             {fmt::format("{}up_proj.{}", mlp, leaf), c.intermediate}};
  };
  LayerWeights w;
  w.input_norm = pack.Vector(true, {{at + "input_layernorm.weight", c.hidden}});
  w.qkv = pack.Matrix(qkv("weight"), c.hidden);
  w.qkv_bias = pack.Vector(c.qkv_bias, qkv("bias"));
  w.q_norm = pack.Vector(c.qk_norm, {{attn + "q_norm.weight", c.head_dim}});
  w.k_norm = pack.Vector(c.qk_norm, {{attn + "k_norm.weight", c.head_dim}});
  w.o = pack.Matrix({{attn + "o_proj.weight", c.hidden}}, q);
  w.o_bias = pack.Vector(c.o_bias, {{attn + "o_proj.bias", c.hidden}});
  w.mlp_norm = pack.Vector(true, {{at + "post_attention_layernorm.weight", c.hidden}});
  w.gate_up = pack.Matrix(gate_up("weight"), c.hidden);
  w.gate_up_bias = pack.Vector(c.mlp_bias, gate_up("bias"));
  w.down = pack.Matrix({{mlp + "down_proj.weight", c.hidden}}, c.intermediate);
  w.down_bias = pack.Vector(c.mlp_bias, {{mlp + "down_proj.bias", c.hidden}});
  return w;
}

// The layer that a tensor "model.layers.7.…" belongs to.
std::optional<int64_t> LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t layer = 0;
  size_t at = kPrefix.size();
  for (; at < name.size() && name[at] >= '0' && name[at] <= '9' && layer < 1'000'000; ++at) {
    layer = layer * 10 + (name[at] - '0');
  }
  if (at == kPrefix.size() || at == name.size() || name[at] != '.') return std::nullopt;
  return layer;
}

// A tensor left over in a layer that we run means that config.json tells of another model than the
// weights: most likely a bias or a norm. Tables of rotary angles, which old folders store, are no
// weights; whole extra layers and towers are not ours to run.
absl::Status CheckLeftovers(const HfConfig& config, const WeightSource& source) {
  for (const std::string& name : source.Unread()) {
    const std::optional<int64_t> layer = LayerOf(name);
    const bool ours = layer && *layer < config.num_layers && !name.ends_with("rotary_emb.inv_freq");
    if (ours || name == "lm_head.bias") {
      return Unimplemented(
          "tensor {} is in the weights, but a {} with these fields in config.json "
          "has no such tensor",
          name, NameOf(config.family));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Weights> LoadWeights(const HfConfig& config, WeightSource& source,
                                    kernels::DType dtype, kernels::Backend& backend,
                                    const LoadProgress& progress) {
  Packer pack(config, source, dtype, backend, progress);
  Weights weights;
  weights.dtype = dtype;
  weights.embedding = pack.Matrix({{"model.embed_tokens.weight", config.vocab}}, config.hidden);
  for (int32_t layer = 0; layer < config.num_layers && pack.status().ok(); ++layer) {
    weights.layers.push_back(PackLayer(config, layer, pack));
  }
  weights.final_norm = pack.Vector(true, {{"model.norm.weight", config.hidden}});
  if (!config.tied_embeddings) {
    weights.lm_head = pack.Matrix({{"lm_head.weight", config.vocab}}, config.hidden);
  }
  RETURN_IF_ERROR(pack.status());
  RETURN_IF_ERROR(CheckLeftovers(config, source));
  return weights;
}

size_t Weights::bytes() const {
  size_t total = embedding->bytes() + (lm_head != nullptr ? lm_head->bytes() : 0);
  for (const LayerWeights& w : layers) {
    total += w.qkv->bytes() + w.o->bytes() + w.gate_up->bytes() + w.down->bytes();
  }
  return total;
}

}  // namespace baton::model
