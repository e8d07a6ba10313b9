#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/activation_row.h"
#include "kernels/check.h"
#include "kernels/convert.h"
#include "kernels/kv_row.h"
#include "kernels/quantized_weight.h"
#include "kernels/reference/naive_sampling.h"

namespace baton::kernels {
namespace {

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t bytes) : bytes_(bytes) {
    const size_t padded = (bytes + 63) / 64 * 64;
    data_ = static_cast<std::byte*>(std::aligned_alloc(64, padded == 0 ? 64 : padded));
    KERNELS_CHECK(data_ != nullptr);
    std::memset(data_, 0, padded);
  }
  ~HostBuffer() override { std::free(data_); }
  std::byte* data() override { return data_; }
  size_t size() const override { return bytes_; }

 private:
  std::byte* data_;
  size_t bytes_;
};

// Row-major f32, already rounded to the precision that was asked for; of int8 and int4 whole
// numbers, and what those of each row, or of each group in it, are worth.
class PlainMatrix final : public Matrix {
 public:
  PlainMatrix(int64_t rows, int64_t cols) : cols_(cols), values_(rows * cols), rows_(rows) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return values_.size() * sizeof(float); }
  const float* row(int64_t n) const { return values_.data() + n * cols_; }
  float* row(int64_t n) { return values_.data() + n * cols_; }
  bool is_quantized() const { return group_ > 0; }
  DType dtype() const { return dtype_; }    // of quantized ones
  int64_t group() const { return group_; }  // of int8: the whole row
  int64_t groups() const { return (cols_ + group_ - 1) / group_; }
  float scale(int64_t n, int64_t group) const { return scales_[n * groups() + group]; }
  float value(int64_t n, int64_t k) const {
    return is_quantized() ? row(n)[k] * scale(n, k / group_) : row(n)[k];
  }

  // Row `n`, from row `from` of `part`.
  void SetQuantized(int64_t n, const HostMatrix& part, int64_t from, DType dtype) {
    dtype_ = dtype;
    group_ = dtype == DType::kInt8 ? cols_ : GroupOf(dtype);
    std::vector<float> scratch(cols_);
    if (dtype == DType::kInt8) {
      std::vector<std::byte> bytes(cols_);
      scales_.push_back(Int8Weight(part, from, scratch.data(), bytes.data()));
      for (int64_t k = 0; k < cols_; ++k) row(n)[k] = LoadElement(bytes.data(), dtype, k);
      return;
    }
    for (int64_t first = 0; first < cols_; first += group_) {
      const int32_t count = int32_t(std::min(group_, cols_ - first));
      std::vector<uint8_t> values(count);
      const Int4Scale of_group =
          Int4Weight(part, from, first, count, scratch.data(), values.data());
      scales_.push_back(of_group.scale);
      for (int32_t i = 0; i < count; ++i) row(n)[first + i] = float(values[i] - of_group.zero);
    }
  }

 private:
  int64_t cols_;
  DType dtype_ = DType::kF32;
  int64_t group_ = 0;
  std::vector<float> scales_;  // [rows][groups]
  std::vector<float> values_;  // [rows][cols]
  int64_t rows_;
};

void NormalizeHead(float* head, int32_t head_dim, const float* weight, float epsilon) {
  float sum = 0;
  for (int32_t d = 0; d < head_dim; ++d) sum += head[d] * head[d];
  const float scale = 1 / std::sqrt(sum / head_dim + epsilon);
  for (int32_t d = 0; d < head_dim; ++d) head[d] = head[d] * scale * weight[d];
}

void RotateHead(float* head, int32_t head_dim, const RopeTable& rope, int32_t position) {
  const int32_t half = head_dim / 2;
  for (int32_t i = 0; i < half; ++i) {
    const float cos = rope.cos[int64_t{position} * half + i];
    const float sin = rope.sin[int64_t{position} * half + i];
    const float a = head[i], b = head[i + half];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

// Row `t` of activations.
void StoreActivations(const std::vector<float>& x, DType dtype, int64_t t, void* out) {
  const int32_t width = int32_t(x.size());
  std::byte* row = static_cast<std::byte*>(out) + t * ActivationRowBytes(dtype, width);
  if (dtype == DType::kInt8) return StoreInt8Row(x.data(), width, row);
  for (int32_t i = 0; i < width; ++i) StoreElement(row, dtype, i, x[i]);
}

// y of one row of int8 and one output.
float QuantizedProduct(const std::byte* x, const PlainMatrix& w, int64_t n) {
  float total = 0;
  for (int64_t g = 0; g < w.groups(); ++g) {
    int32_t sum = 0;
    for (int64_t k = g * w.group(); k < std::min((g + 1) * w.group(), w.cols()); ++k) {
      sum += int8_t(x[k]) * int32_t(w.row(n)[k]);
    }
    if (w.dtype() == DType::kInt8) return float(sum) * (ScaleOf(x, w.cols()) * w.scale(n, 0));
    total = std::fma(float(sum), w.scale(n, g), total);
  }
  return total * ScaleOf(x, w.cols());
}

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

std::unique_ptr<Buffer> ReferenceBackend::Allocate(size_t bytes) {
  return std::make_unique<HostBuffer>(bytes);
}

std::unique_ptr<Matrix> ReferenceBackend::LoadMatrix(std::span<const HostMatrix> parts,
                                                     DType target) {
  KERNELS_CHECK(!parts.empty());
  KERNELS_CHECK(target == DType::kF32 || target == DType::kBF16 || IsQuantizedWeight(target));
  int64_t rows = 0;
  for (const HostMatrix& part : parts) rows += part.rows;
  auto matrix = std::make_unique<PlainMatrix>(rows, parts[0].cols);
  int64_t n = 0;
  for (const HostMatrix& part : parts) {
    KERNELS_CHECK(part.cols == parts[0].cols);
    for (int64_t r = 0; r < part.rows; ++r, ++n) {
      if (IsQuantizedWeight(target)) {
        matrix->SetQuantized(n, part, r, target);
        continue;
      }
      for (int64_t c = 0; c < part.cols; ++c) {
        const float value = ElementOf(part, r, c);
        matrix->row(n)[c] = target == DType::kBF16 ? F32FromBf16(Bf16FromF32(value)) : value;
      }
    }
  }
  return matrix;
}

Vector ReferenceBackend::LoadVector(std::span<const HostMatrix> parts) {
  int64_t count = 0;
  for (const HostMatrix& part : parts) count += part.rows * part.cols;
  Vector vector = Allocate(size_t(count) * sizeof(float));
  float* out = vector->as<float>();
  for (const HostMatrix& part : parts) {
    for (int64_t i = 0; i < part.rows * part.cols; ++i)
      *out++ = LoadElement(part.data, part.dtype, i);
  }
  return vector;
}

void ReferenceBackend::Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled,
                             int32_t num_tokens, float* out) {
  const auto& plain = static_cast<const PlainMatrix&>(table);
  for (int32_t t = 0; t < num_tokens; ++t) {
    const int32_t id = ids[t] < 0 ? sampled[-1 - ids[t]] : ids[t];
    KERNELS_CHECK(id >= 0 && id < plain.rows());
    for (int64_t k = 0; k < plain.cols(); ++k) out[t * plain.cols() + k] = plain.value(id, k);
  }
}

void ReferenceBackend::RmsNorm(const float* x, const float* weight, float epsilon,
                               int32_t num_tokens, int32_t hidden, DType out_dtype, void* out) {
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float* row = x + int64_t{t} * hidden;
    float sum = 0;
    for (int32_t i = 0; i < hidden; ++i) sum += row[i] * row[i];
    const float scale = 1 / std::sqrt(sum / hidden + epsilon);
    std::vector<float> normed(hidden);
    for (int32_t i = 0; i < hidden; ++i) normed[i] = row[i] * scale * weight[i];
    StoreActivations(normed, out_dtype, t, out);
  }
}

void ReferenceBackend::Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                            GemmOutput output, float* out) {
  const auto& plain = static_cast<const PlainMatrix&>(w);
  const int64_t rows = plain.rows(), cols = plain.cols();
  const DType dtype = plain.is_quantized() ? DType::kInt8 : DType::kF32;
  for (int32_t t = 0; t < num_tokens; ++t) {
    const std::byte* row = static_cast<const std::byte*>(x) + t * ActivationRowBytes(dtype, cols);
    const auto* in = reinterpret_cast<const float*>(row);
    for (int64_t n = 0; n < rows; ++n) {
      float y = 0;
      if (plain.is_quantized()) {
        y = QuantizedProduct(row, plain, n);
      } else {
        for (int64_t k = 0; k < cols; ++k) y += in[k] * plain.row(n)[k];
      }
      if (bias != nullptr) y += bias[n];
      float& cell = out[t * rows + n];
      cell = output == GemmOutput::kAdd ? cell + y : y;
    }
  }
}

void ReferenceBackend::SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate,
                               DType out_dtype, void* out) {
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float* gate = gate_up + int64_t{t} * 2 * intermediate;
    const float* up = gate + intermediate;
    std::vector<float> product(intermediate);
    for (int32_t f = 0; f < intermediate; ++f) {
      product[f] = gate[f] / (1 + std::exp(-gate[f])) * up[f];
    }
    StoreActivations(product, out_dtype, t, out);
  }
}

void ReferenceBackend::RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer,
                                      float* q_out) {
  const int32_t dim = kv.head_dim, heads_q = args.num_q_heads, heads_kv = kv.num_kv_heads;
  std::vector<float> head(dim);
  for (int32_t t = 0; t < args.num_tokens; ++t) {
    const float* row = args.qkv + int64_t{t} * (heads_q + 2 * heads_kv) * dim;
    KERNELS_CHECK(args.positions[t] >= 0 && args.positions[t] < args.rope.max_positions);
    const int32_t block = args.slots[t] / kv.block_tokens, token = args.slots[t] % kv.block_tokens;
    KERNELS_CHECK(block >= 0 && block < kv.num_blocks);
    for (int32_t h = 0; h < heads_q + heads_kv; ++h) {
      const bool is_q = h < heads_q;
      const float* norm = is_q ? args.q_norm : args.k_norm;
      head.assign(row + h * dim, row + (h + 1) * dim);
      if (norm != nullptr) NormalizeHead(head.data(), dim, norm, args.norm_epsilon);
      RotateHead(head.data(), dim, args.rope, args.positions[t]);
      if (is_q) {
        std::copy(head.begin(), head.end(), q_out + (int64_t{t} * heads_q + h) * dim);
      } else {
        StoreKvRow(RowOf(kv, layer, block, 0, h - heads_q, token), kv.dtype, head.data(), dim);
      }
    }
    for (int32_t h = 0; h < heads_kv; ++h) {
      const float* value = row + (heads_q + heads_kv + h) * dim;
      StoreKvRow(RowOf(kv, layer, block, 1, h, token), kv.dtype, value, dim);
    }
  }
}

void ReferenceBackend::Attention(const float* q, const KvView& kv, int32_t layer,
                                 int32_t num_q_heads, std::span<const AttentionSequence> sequences,
                                 float scale, int32_t window, DType out_dtype, void* out) {
  const int32_t dim = kv.head_dim;
  const int32_t group = num_q_heads / kv.num_kv_heads;
  for (const AttentionSequence& seq : sequences) {
    for (int32_t i = 0; i < seq.query_tokens; ++i) {
      const int32_t position = seq.context_tokens - seq.query_tokens + i;
      const int32_t first = window > 0 && position >= window ? position - window + 1 : 0;
      std::vector<float> attended;  // [Hq, D]
      for (int32_t h = 0; h < num_q_heads; ++h) {
        const int64_t row = (int64_t{seq.query_begin} + i) * num_q_heads + h;
        auto kv_row = [&](int part, int32_t p) {
          return RowOf(kv, layer, seq.block_table[p / kv.block_tokens], part, h / group,
                       p % kv.block_tokens);
        };
        std::vector<float> weights;
        float largest = -INFINITY, total = 0;
        for (int32_t p = first; p <= position; ++p) {
          float dot = 0;
          for (int32_t d = 0; d < dim; ++d) {
            dot += q[row * dim + d] * LoadKvElement(kv_row(0, p), kv.dtype, d);
          }
          weights.push_back(dot * scale);
          largest = std::max(largest, dot * scale);
        }
        for (float& w : weights) total += w = std::exp(w - largest);
        for (int32_t d = 0; d < dim; ++d) {
          float sum = 0;
          for (int32_t p = first; p <= position; ++p) {
            sum += weights[p - first] * LoadKvElement(kv_row(1, p), kv.dtype, d);
          }
          attended.push_back(sum / total);
        }
      }
      StoreActivations(attended, out_dtype, int64_t{seq.query_begin} + i, out);
    }
  }
}

void ReferenceBackend::GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                                  void* out) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(static_cast<std::byte*>(out) + i * row_bytes,
                static_cast<const std::byte*>(x) + size_t(rows[i]) * row_bytes, row_bytes);
  }
}

void ReferenceBackend::Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                              std::span<SampledToken> out) {
  KERNELS_CHECK(out.size() == rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<float> row(logits + int64_t{rows[i].row} * vocab,
                           logits + (int64_t{rows[i].row} + 1) * vocab);
    out[i] = NaiveSampleRow(row, rows[i]);
  }
}

void ReferenceBackend::CopyToHost(const void* device, void* host, size_t bytes) {
  std::memcpy(host, device, bytes);
}

void ReferenceBackend::CopyToDevice(const void* host, void* device, size_t bytes) {
  std::memcpy(device, host, bytes);
}

}  // namespace baton::kernels
