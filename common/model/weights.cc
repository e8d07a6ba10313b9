#include "common/model/weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace baton::model {
namespace {

// A tensor, and which of its rows (elements, of a vector) are packed.
struct Part {
  Part(std::string tensor, int64_t whole) : name(std::move(tensor)), rows(whole), count(whole) {}
  // `taken` of `heads` that the rows are made of, `each` rows a head.
  Part(std::string tensor, int64_t heads, Slice taken, int64_t each = 1)
      : name(std::move(tensor)),
        rows(heads * each),
        first(taken.first * each),
        count(taken.count * each) {}

  std::string name;
  int64_t rows = 0;  // of the whole tensor
  int64_t first = 0;
  int64_t count = 0;
};

// The columns of a matrix that are packed.
struct Columns {
  explicit Columns(int64_t all) : whole(all), count(all) {}
  Columns(int64_t heads, Slice taken, int64_t each = 1)
      : whole(heads * each), first(taken.first * each), count(taken.count * each) {}

  int64_t whole = 0;
  int64_t first = 0;
  int64_t count = 0;
};

kernels::HostMatrix TakeRows(kernels::HostMatrix matrix, int64_t first, int64_t count) {
  matrix.data += first * matrix.cols * int64_t(BytesOf(matrix.dtype));
  if (matrix.is_quantized()) matrix.scales += first * matrix.groups();
  if (matrix.zeros != nullptr) matrix.zeros += first * matrix.groups();
  matrix.rows = count;
  return matrix;
}

// Reads, packs and releases one group of tensors after another; remembers the first error, after
// which everything it returns is null, so that the list of weights below reads as a list.
class Packer {
 public:
  Packer(const HfConfig& config, const Shard& shard, WeightSource& source, const WeightTypes& types,
         kernels::Backend& backend, const LoadProgress& progress)
      : source_(source),
        types_(types),
        backend_(backend),
        progress_(progress),
        total_bytes_(NumParameters(config, shard) * int64_t(BytesOf(source.dtype()))) {}

  MatrixPtr Matrix(const std::vector<Part>& parts, const Columns& columns) {
    return Matrix(parts, columns, types_.matrices);
  }
  MatrixPtr Matrix(const std::vector<Part>& parts, int64_t cols) {
    return Matrix(parts, Columns(cols));
  }
  MatrixPtr Embedding(const Part& table, int64_t cols) {
    return Matrix({table}, Columns(cols), types_.embedding);
  }
  MatrixPtr Head(const Part& rows, int64_t cols) {
    return Matrix({rows}, Columns(cols), types_.head);
  }

  kernels::Vector Vector(bool present, const std::vector<Part>& parts) {
    if (!present) return nullptr;
    std::vector<kernels::HostMatrix> host;
    for (const Part& part : parts) {
      auto whole = Get(part, part.rows, /*vector=*/true);
      if (!whole) return nullptr;
      whole->data += part.first * int64_t(BytesOf(whole->dtype));
      whole->cols = part.count;
      host.push_back(*whole);
    }
    kernels::Vector packed = backend_.LoadVector(host);
    Finish(parts, host);
    return packed;
  }

  // Tells the source that a tensor which this rank has no use for is none too many.
  void Skip(bool present, const std::string& name, int64_t length) {
    if (present && Get({name, length}, length, /*vector=*/true)) source_.Release(name);
  }

  const absl::Status& status() const { return status_; }

 private:
  MatrixPtr Matrix(const std::vector<Part>& parts, const Columns& columns, kernels::DType dtype) {
    std::vector<kernels::HostMatrix> host;
    std::vector<std::vector<std::byte>> copies;  // of columns, which do not lie together
    for (const Part& part : parts) {
      const auto whole = Get(part, columns.whole, /*vector=*/false);
      if (!whole) return nullptr;
      host.push_back(TakeRows(*whole, part.first, part.count));
      if (columns.count == columns.whole) continue;
      if (whole->groups() > 1) {
        status_ = Unimplemented(
            "tensor {} is quantized in groups, which a rank cannot have part of: "
            "tensor_parallel_size is to be 1",
            part.name);
        return nullptr;
      }
      copies.push_back(CopyColumns(columns, host.back()));
    }
    MatrixPtr packed = backend_.LoadMatrix(host, dtype);
    Finish(parts, host);
    return packed;
  }

  std::optional<kernels::HostMatrix> Get(const Part& part, int64_t cols, bool vector) {
    if (!status_.ok()) return std::nullopt;
    auto matrix = source_.Get(part.name, vector ? 1 : part.rows, cols, vector);
    status_ = matrix.status();
    if (!matrix.ok()) return std::nullopt;
    matrix->name = part.name;
    return *std::move(matrix);
  }

  // Has `matrix` become the columns, in memory of their own.
  static std::vector<std::byte> CopyColumns(const Columns& columns, kernels::HostMatrix& matrix) {
    const size_t element = BytesOf(matrix.dtype);
    const size_t from_row = size_t(matrix.cols) * element, to_row = size_t(columns.count) * element;
    std::vector<std::byte> copy(size_t(matrix.rows) * to_row);
    const std::byte* from = matrix.data + size_t(columns.first) * element;
    for (int64_t row = 0; row < matrix.rows; ++row) {
      std::memcpy(copy.data() + size_t(row) * to_row, from + size_t(row) * from_row, to_row);
    }
    matrix.data = copy.data();
    matrix.cols = columns.count;
    if (matrix.is_quantized()) matrix.group = columns.count;
    return copy;
  }

  void Finish(const std::vector<Part>& parts, const std::vector<kernels::HostMatrix>& host) {
    for (const Part& part : parts) source_.Release(part.name);
    for (const auto& m : host) done_bytes_ += m.rows * m.cols * int64_t(BytesOf(m.dtype));
    if (progress_) progress_(done_bytes_, std::max(done_bytes_, total_bytes_));
  }

  WeightSource& source_;
  WeightTypes types_;
  kernels::Backend& backend_;
  const LoadProgress& progress_;
  int64_t total_bytes_;
  int64_t done_bytes_ = 0;
  absl::Status status_;
};

LayerWeights PackLayer(const HfConfig& c, const Shard& shard, int32_t layer, Packer& pack) {
  const std::string at = fmt::format("model.layers.{}.", layer);
  const std::string attn = at + "self_attn.", mlp = at + "mlp.";
  const int64_t hq = c.num_q_heads, hkv = c.num_kv_heads, d = c.head_dim, f = c.intermediate;
  const auto qkv = [&](std::string_view leaf) {
    return std::vector<Part>{{fmt::format("{}q_proj.{}", attn, leaf), hq, shard.q_heads, d},
                             {fmt::format("{}k_proj.{}", attn, leaf), hkv, shard.kv_heads, d},
                             {fmt::format("{}v_proj.{}", attn, leaf), hkv, shard.kv_heads, d}};
  };
  const auto gate_up = [&](std::string_view leaf) {
    return std::vector<Part>{{fmt::format("{}gate_proj.{}", mlp, leaf), f, shard.intermediate},
                             {fmt::format("{}up_proj.{}", mlp, leaf), f, shard.intermediate}};
  };
  // The ranks' results are summed: the bias is in one of them.
  const auto summed_bias = [&](bool present, const std::string& name) -> kernels::Vector {
    if (shard.rank == 0) return pack.Vector(present, {{name, c.hidden}});
    pack.Skip(present, name, c.hidden);
    return nullptr;
  };
  LayerWeights w;
  w.input_norm = pack.Vector(true, {{at + "input_layernorm.weight", c.hidden}});
  w.qkv = pack.Matrix(qkv("weight"), c.hidden);
  w.qkv_bias = pack.Vector(c.qkv_bias, qkv("bias"));
  w.q_norm = pack.Vector(c.qk_norm, {{attn + "q_norm.weight", d}});
  w.k_norm = pack.Vector(c.qk_norm, {{attn + "k_norm.weight", d}});
  w.o = pack.Matrix({{attn + "o_proj.weight", c.hidden}}, Columns(hq, shard.q_heads, d));
  w.o_bias = summed_bias(c.o_bias, attn + "o_proj.bias");
  w.mlp_norm = pack.Vector(true, {{at + "post_attention_layernorm.weight", c.hidden}});
  w.gate_up = pack.Matrix(gate_up("weight"), c.hidden);
  w.gate_up_bias = pack.Vector(c.mlp_bias, gate_up("bias"));
  w.down = pack.Matrix({{mlp + "down_proj.weight", c.hidden}}, Columns(f, shard.intermediate));
  w.down_bias = summed_bias(c.mlp_bias, mlp + "down_proj.bias");
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

absl::StatusOr<Weights> LoadWeights(const HfConfig& config, const Shard& shard,
                                    WeightSource& source, const WeightTypes& types,
                                    kernels::Backend& backend, const LoadProgress& progress) {
  Packer pack(config, shard, source, types, backend, progress);
  Weights weights;
  weights.types = types;
  weights.embedding = pack.Embedding({"model.embed_tokens.weight", config.vocab}, config.hidden);
  for (int32_t layer = 0; layer < config.num_layers && pack.status().ok(); ++layer) {
    weights.layers.push_back(PackLayer(config, shard, layer, pack));
  }
  weights.final_norm = pack.Vector(true, {{"model.norm.weight", config.hidden}});
  if (types.has_own_head(config, shard)) {
    const char* head = config.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
    weights.lm_head = pack.Head({head, config.vocab, shard.vocab}, config.hidden);
  }
  RETURN_IF_ERROR(pack.status());
  backend.Synchronize();  // what a device has to say of them is said while they are loaded
  RETURN_IF_ERROR(CheckLeftovers(config, source));
  return weights;
}

int64_t WeightBytes(const HfConfig& config, const Shard& shard, const WeightTypes& types) {
  const auto bytes = [](int64_t elements, kernels::DType dtype) {
    const int32_t group = GroupOf(dtype);
    return int64_t(double(elements) * (group > 0 ? 0.5 + 5.0 / group : double(BytesOf(dtype))));
  };
  const int64_t table = int64_t{config.vocab} * config.hidden;
  const int64_t head = int64_t{shard.vocab.count} * config.hidden;
  const int64_t layers =
      NumParameters(config, shard) - table - (shard.has_own_head(config) ? head : 0);
  return bytes(table, types.embedding) + bytes(layers, types.matrices) +
         (types.has_own_head(config, shard) ? bytes(head, types.head) : 0);
}

size_t Weights::bytes() const {
  size_t total = embedding->bytes() + (lm_head != nullptr ? lm_head->bytes() : 0);
  for (const LayerWeights& w : layers) {
    total += w.qkv->bytes() + w.o->bytes() + w.gate_up->bytes() + w.down->bytes();
  }
  return total;
}

}  // namespace baton::model
