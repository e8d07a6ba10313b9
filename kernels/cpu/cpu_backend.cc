#include "kernels/cpu/cpu_backend.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "kernels/activation_row.h"
#include "kernels/check.h"
#include "kernels/convert.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/kv_row.h"
#include "kernels/sampling/penalties.h"

namespace baton::kernels {
namespace {

// Memory traffic below which handing a piece to another thread costs more than it saves.
constexpr int64_t kPieceBytes = 32 << 10;

int UsableCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(std::thread::hardware_concurrency()));
}

std::byte* At(void* data, DType dtype, int64_t index) {
  return static_cast<std::byte*>(data) + index * int64_t(BytesOf(dtype));
}

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(const CpuOptions& options) {
  const IsaOps* ops = FindIsa(options.isa.c_str());
  if (ops == nullptr) return nullptr;
  return std::make_unique<CpuBackend>(*ops,
                                      options.num_threads > 0 ? options.num_threads : UsableCpus());
}

CpuBackend::CpuBackend(const IsaOps& ops, int num_threads)
    : ops_(ops),
      pool_(num_threads),
      gemm_(ops, pool_),
      attention_(ops, pool_),
      per_thread_(size_t(num_threads)) {}

template <typename Fn>
void CpuBackend::ForRows(int64_t count, int64_t cost, const Fn& fn) {
  const int64_t piece = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, cost));
  pool_.ParallelFor((count + piece - 1) / piece, [&](int64_t i, int thread) {
    fn(i * piece, std::min(count, (i + 1) * piece), thread);
  });
}

template <typename Fn>
void CpuBackend::QuantizeRows(int64_t count, int32_t width, int64_t cost, void* out, const Fn& fn) {
  const size_t row_bytes = ActivationRowBytes(DType::kInt8, width);
  ForRows(count, cost, [&](int64_t begin, int64_t end, int thread) {
    auto* row = reinterpret_cast<float*>(per_thread_[size_t(thread)].Reserve(size_t(width) * 4));
    for (int64_t t = begin; t < end; ++t) {
      ops_.quantize_row(fn(t, row), width, static_cast<std::byte*>(out) + size_t(t) * row_bytes);
    }
  });
}

std::unique_ptr<Buffer> CpuBackend::Allocate(size_t bytes) {
  return std::make_unique<CpuMemory>(bytes);
}

std::unique_ptr<Matrix> CpuBackend::LoadMatrix(std::span<const HostMatrix> parts, DType target) {
  return std::make_unique<PackedMatrix>(parts, target, pool_);
}

Vector CpuBackend::LoadVector(std::span<const HostMatrix> parts) {
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

void CpuBackend::Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled,
                       int32_t num_tokens, float* out) {
  const auto& packed = static_cast<const PackedMatrix&>(table);
  ForRows(num_tokens, packed.cols() * 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      packed.UnpackRow(ids[t] < 0 ? sampled[-1 - ids[t]] : ids[t], out + t * packed.cols());
    }
  });
}

void CpuBackend::RmsNorm(const float* x, const float* weight, float epsilon, int32_t num_tokens,
                         int32_t hidden, DType out_dtype, void* out) {
  if (out_dtype == DType::kInt8) {
    return QuantizeRows(num_tokens, hidden, int64_t{hidden} * 8, out, [&](int64_t t, float* row) {
      ops_.rms_norm(x + t * hidden, weight, epsilon, hidden, DType::kF32, row);
      return row;
    });
  }
  ForRows(num_tokens, int64_t{hidden} * 6, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      ops_.rms_norm(x + t * hidden, weight, epsilon, hidden, out_dtype,
                    At(out, out_dtype, t * hidden));
    }
  });
}

void CpuBackend::Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                      GemmOutput output, float* out) {
  gemm_.Run({.x = x,
             .bias = bias,
             .num_tokens = num_tokens,
             .add = output == GemmOutput::kAdd,
             .out = out},
            static_cast<const PackedMatrix&>(w));
}

void CpuBackend::SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate,
                         DType out_dtype, void* out) {
  if (out_dtype == DType::kInt8) {
    const auto product = [&](int64_t t, float* row) {
      const float* gate = gate_up + t * 2 * intermediate;
      ops_.silu_mul(gate, gate + intermediate, intermediate, DType::kF32, row);
      return row;
    };
    return QuantizeRows(num_tokens, intermediate, int64_t{intermediate} * 12, out, product);
  }
  ForRows(num_tokens, int64_t{intermediate} * 10, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_up + t * 2 * intermediate;
      ops_.silu_mul(gate, gate + intermediate, intermediate, out_dtype,
                    At(out, out_dtype, t * intermediate));
    }
  });
}

void CpuBackend::RopeToken(const QkvArgs& args, const KvView& kv, int32_t layer, int32_t token,
                           float* q_out) {
  const int32_t dim = kv.head_dim, half = dim / 2;
  const int32_t heads_q = args.num_q_heads, heads_kv = kv.num_kv_heads;
  const int32_t position = args.positions[token], slot = args.slots[token];
  KERNELS_CHECK(position >= 0 && position < args.rope.max_positions);
  KERNELS_CHECK(slot >= 0 && slot / kv.block_tokens < kv.num_blocks);
  const float* cos = args.rope.cos + int64_t{position} * half;
  const float* sin = args.rope.sin + int64_t{position} * half;
  const float* head = args.qkv + int64_t{token} * (heads_q + 2 * heads_kv) * dim;
  const int32_t block = slot / kv.block_tokens, in_block = slot % kv.block_tokens;
  float normed[256], rotated[256];
  const auto normalised = [&](const float* weight) {
    if (weight == nullptr) return head;
    ops_.rms_norm(head, weight, args.norm_epsilon, dim, DType::kF32, normed);
    return static_cast<const float*>(normed);
  };
  float* q = q_out + int64_t{token} * heads_q * dim;
  for (int32_t h = 0; h < heads_q; ++h, head += dim) {
    ops_.rotate(normalised(args.q_norm), cos, sin, half, DType::kF32, q + h * dim);
  }
  for (int32_t h = 0; h < heads_kv; ++h, head += dim) {
    const KvRow key = RowOf(kv, layer, block, 0, h, in_block);
    const bool is_last = key.scale == nullptr;
    ops_.rotate(normalised(args.k_norm), cos, sin, half, is_last ? kv.dtype : DType::kF32,
                is_last ? static_cast<void*>(key.elements) : rotated);
    if (!is_last) StoreKvRow(key, kv.dtype, rotated, dim);
  }
  for (int32_t h = 0; h < heads_kv; ++h, head += dim) {
    const KvRow value = RowOf(kv, layer, block, 1, h, in_block);
    if (value.scale == nullptr) {
      ops_.store_row(head, dim, kv.dtype, value.elements);
    } else {
      StoreKvRow(value, kv.dtype, head, dim);
    }
  }
}

void CpuBackend::RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer,
                                float* q_out) {
  KERNELS_CHECK(kv.head_dim % 2 == 0 && kv.head_dim <= 256);
  const int64_t cost = int64_t{args.num_q_heads + 2 * kv.num_kv_heads} * kv.head_dim * 8;
  ForRows(args.num_tokens, cost, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) RopeToken(args, kv, layer, int32_t(t), q_out);
  });
}

void CpuBackend::Attention(const float* q, const KvView& kv, int32_t layer, int32_t num_q_heads,
                           std::span<const AttentionSequence> sequences, float scale,
                           int32_t window, DType out_dtype, void* out) {
  const int32_t width = num_q_heads * kv.head_dim;
  int32_t num_tokens = 0;
  for (const AttentionSequence& s : sequences) {
    num_tokens = std::max(num_tokens, s.query_begin + s.query_tokens);
  }
  // A row is several tasks' work: it is rounded when all of it is there.
  const bool is_rounded_after = out_dtype == DType::kInt8;
  void* into = is_rounded_after
                   ? attended_.Reserve(size_t(num_tokens) * size_t(width) * sizeof(float))
                   : out;
  attention_.Run({.q = q,
                  .kv = kv,
                  .layer = layer,
                  .num_q_heads = num_q_heads,
                  .sequences = sequences,
                  .scale = scale,
                  .window = window,
                  .out_dtype = is_rounded_after ? DType::kF32 : out_dtype,
                  .out = into});
  if (!is_rounded_after) return;
  const auto* attended = static_cast<const float*>(into);
  QuantizeRows(num_tokens, width, int64_t{width} * 5, out,
               [&](int64_t t, float*) { return attended + t * width; });
}

void CpuBackend::GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                            void* out) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(static_cast<std::byte*>(out) + i * row_bytes,
                static_cast<const std::byte*>(x) + size_t(rows[i]) * row_bytes, row_bytes);
  }
}

void CpuBackend::Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                        std::span<SampledToken> out) {
  KERNELS_CHECK(out.size() == rows.size());
  pool_.ParallelFor(int64_t(rows.size()), [&](int64_t i, int thread) {
    const SampleArgs& args = rows[size_t(i)];
    const float* row = logits + int64_t{args.row} * vocab;
    const bool greedy = args.temperature == 0 && args.given < 0;
    if (greedy && args.num_logprobs < 0 && HasNoPenalties(args)) {
      out[size_t(i)] = {.token = ops_.largest_logit(row, vocab)};
      return;
    }
    auto* copy = reinterpret_cast<float*>(per_thread_[size_t(thread)].Reserve(size_t(vocab) * 4));
    std::memcpy(copy, row, size_t(vocab) * sizeof(float));
    out[size_t(i)] = SampleRow({copy, size_t(vocab)}, args);
  });
}

void CpuBackend::CopyToHost(const void* device, void* host, size_t bytes) {
  std::memcpy(host, device, bytes);
}

void CpuBackend::CopyToDevice(const void* host, void* device, size_t bytes) {
  std::memcpy(device, host, bytes);
}

}  // namespace baton::kernels
