#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/check.h"
#include "kernels/convert.h"
#include "kernels/kv_row.h"
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

// Row-major f32, already rounded to the precision that was asked for.
class PlainMatrix final : public Matrix {
 public:
  PlainMatrix(int64_t rows, int64_t cols) : cols_(cols), values_(rows * cols), rows_(rows) {}
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  size_t bytes() const override { return values_.size() * sizeof(float); }
  const float* row(int64_t n) const { return values_.data() + n * cols_; }
  float* row(int64_t n) { return values_.data() + n * cols_; }

 private:
  int64_t cols_;
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

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

std::unique_ptr<Buffer> ReferenceBackend::Allocate(size_t bytes) {
  return std::make_unique<HostBuffer>(bytes);
}

std::unique_ptr<Matrix> ReferenceBackend::LoadMatrix(std::span<const HostMatrix> parts,
                                                     DType target) {
  KERNELS_CHECK(!parts.empty());
  KERNELS_CHECK(target != DType::kF16);
  int64_t rows = 0;
  for (const HostMatrix& part : parts) rows += part.rows;
  auto matrix = std::make_unique<PlainMatrix>(rows, parts[0].cols);
  int64_t n = 0;
  for (const HostMatrix& part : parts) {
    KERNELS_CHECK(part.cols == parts[0].cols);
    for (int64_t r = 0; r < part.rows; ++r, ++n) {
      for (int64_t c = 0; c < part.cols; ++c) {
        const float value = LoadElement(part.data, part.dtype, r * part.cols + c);
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

void ReferenceBackend::Embed(const Matrix& table, const int32_t* ids, int32_t num_tokens,
                             float* out) {
  const auto& plain = static_cast<const PlainMatrix&>(table);
  for (int32_t t = 0; t < num_tokens; ++t) {
    KERNELS_CHECK(ids[t] >= 0 && ids[t] < plain.rows());
    std::memcpy(out + t * plain.cols(), plain.row(ids[t]), plain.cols() * sizeof(float));
  }
}

void ReferenceBackend::RmsNorm(const float* x, const float* weight, float epsilon,
                               int32_t num_tokens, int32_t hidden, DType out_dtype, void* out) {
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float* row = x + int64_t{t} * hidden;
    float sum = 0;
    for (int32_t i = 0; i < hidden; ++i) sum += row[i] * row[i];
    const float scale = 1 / std::sqrt(sum / hidden + epsilon);
    for (int32_t i = 0; i < hidden; ++i) {
      StoreElement(out, out_dtype, int64_t{t} * hidden + i, row[i] * scale * weight[i]);
    }
  }
}

void ReferenceBackend::Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                            GemmOutput output, float* out) {
  const auto& plain = static_cast<const PlainMatrix&>(w);
  const int64_t rows = plain.rows(), cols = plain.cols();
  for (int32_t t = 0; t < num_tokens; ++t) {
    const float* in = static_cast<const float*>(x) + t * cols;
    for (int64_t n = 0; n < rows; ++n) {
      float y = 0;
      for (int64_t k = 0; k < cols; ++k) y += in[k] * plain.row(n)[k];
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
    for (int32_t f = 0; f < intermediate; ++f) {
      StoreElement(out, out_dtype, int64_t{t} * intermediate + f,
                   gate[f] / (1 + std::exp(-gate[f])) * up[f]);
    }
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
          StoreElement(out, out_dtype, row * dim + d, sum / total);
        }
      }
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
