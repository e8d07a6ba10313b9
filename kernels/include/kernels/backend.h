#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "kernels/kv_view.h"
#include "kernels/sampling.h"

// The operations a decoder-only transformer is written in, on device memory. Model code is written
// once against Backend; `cpu`, `cuda` (kernels/cuda.h) and `reference` (the slow, obvious twin and
// oracle) implement it.
//
// Shapes use the glossary's letters: T tokens of this step (all sequences, ragged), H hidden size,
// Hq/Hkv query/KV heads, D head_dim, F intermediate size, V vocabulary, N x K a weight of N
// outputs, K inputs.
//
// Batch invariance (promise 1): every output row depends on its own inputs only, to the last bit.
// No implementation may let the reduction order of a row depend on T, on its place in the batch, on
// the number of threads or on how a prompt was cut into chunks.
//
// Threads: one owner thread calls; implementations parallelise inside. Device operations are
// ordered; they may return before they are done; Synchronize() waits.
namespace baton::kernels {

// Device memory owned by a backend. Freed on destruction; 64-byte aligned at least; zeroed. data()
// is an address on the device: the host reads and writes it by Backend::CopyToHost and
// CopyToDevice.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual std::byte* data() = 0;
  virtual size_t size() const = 0;
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data());
  }
};

// A piece of device memory and the piece of host memory that it is copied to or from.
struct HostCopy {
  std::byte* device = nullptr;
  std::byte* host = nullptr;
  size_t bytes = 0;
};

// Rows of a weight as they lie in a (memory-mapped) checkpoint: [rows][cols], row-major,
// contiguous, possibly unaligned.
struct HostMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  // Of a checkpoint that is quantized, in kInt8: `group` neighbours of a row share a scale and a
  // zero, and an element is worth (element - zero) * scale. int4: elements -8 to 7, zeros to 8.
  int64_t group = 0;
  const float* scales = nullptr;  // [rows][groups()]
  const int8_t* zeros = nullptr;  // [rows][groups()]; null: all are 0
  std::string_view name;          // of the tensor, for errors; may be empty

  bool is_quantized() const { return scales != nullptr; }
  int64_t groups() const { return group == 0 ? 0 : (cols + group - 1) / group; }
};

// Inputs of a weight of int8, so that 32 bits hold any sum of products.
constexpr int64_t kInt8ColsMax = 65536;

// A weight [N, K] in whatever form the backend likes best (packed panels on the CPU). Immutable.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual int64_t rows() const = 0;  // N
  virtual int64_t cols() const = 0;  // K
  virtual size_t bytes() const = 0;
};

// A vector of per-channel weights (norm scale, bias), held in f32 on the device.
using Vector = std::unique_ptr<Buffer>;

// Where a GEMM's result goes.
enum class GemmOutput : uint8_t {
  kStore,  // out = y
  kAdd,    // out += y   (the residual stream; out is f32)
};

// One sequence's part of an attention call. Its `query_tokens` rows in the ragged batch begin at
// `query_begin` and are the last ones of its context: row i is at position
// context_tokens - query_tokens + i and attends to positions 0 … its own (or the last `window` of
// them).
struct AttentionSequence {
  int32_t query_begin = 0;
  int32_t query_tokens = 0;
  int32_t context_tokens = 0;            // including this step's tokens
  const int32_t* block_table = nullptr;  // host memory; ceil(context_tokens / P) block indices
};

struct RopeTable {
  const float* cos = nullptr;  // device, [max_positions][D/2]
  const float* sin = nullptr;  // device, [max_positions][D/2]; both already scaled (yarn's factor)
  int32_t max_positions = 0;
};

// QKV after the projection, ready to be rotated and split.
struct QkvArgs {
  const float* qkv = nullptr;     // [T, (Hq + 2 Hkv) * D] f32: q heads, then k heads, then v heads
  int32_t num_tokens = 0;         // T
  int32_t num_q_heads = 0;        // Hq
  const float* q_norm = nullptr;  // [D] RMSNorm weight over each head, or null (Qwen3)
  const float* k_norm = nullptr;  // [D]
  float norm_epsilon = 0;
  RopeTable rope;
  const int32_t* positions = nullptr;  // host, [T]
  // host, [T]: block * P + token of the block where K and V go. A row that fills up a batch
  // (PaddedRows) has -1: its K and V go nowhere.
  const int32_t* slots = nullptr;
};

// A GEMM that steps will have.
struct GemmUse {
  const Matrix* w = nullptr;
  const float* bias = nullptr;
  GemmOutput output = GemmOutput::kStore;
  int32_t num_tokens_max = 0;
  void* x = nullptr;     // [num_tokens_max, K] of activation_dtype(): its contents are lost
  float* out = nullptr;  // [num_tokens_max, N]: its contents are lost
};

// What a backend must know of a model to say whether it can run it.
struct ModelShape {
  int32_t hidden = 0;        // H
  int32_t intermediate = 0;  // F
  int32_t head_dim = 0;      // D
};

// Of the device itself, where that is not the machine's own memory.
struct DeviceMemory {
  size_t bytes = 0;
  size_t bytes_free = 0;
};

// What a backend computes on, for people.
struct DeviceFacts {
  std::string name;            // "NVIDIA H200"; on the machine's own processors the backend's name
  int32_t index = -1;          // of a GPU, as the driver counts; -1: the machine's own processors
  std::string driver_version;  // the newest CUDA that the driver knows, "12.8"; empty: no GPU
  std::string runtime_version;
  bool graphs = false;      // launches that come again go as one
  bool warpgroups = false;  // wgmma
  bool deterministic = true;
  std::string
      gemm;  // who multiplies, where there is a choice: "cuBLASLt 13.1.0 for 12 of 20 sizes"
};

class Backend {
 public:
  virtual ~Backend() = default;

  // "cpu:avx512_bf16", "cpu:avx2", "reference". Part of the fingerprint that prefill and decode
  // workers compare: equal names mean equal bits.
  virtual std::string name() const = 0;
  // Whether weights can be kept in `weights`. f32 and bf16: always; int8 has a scale per output,
  // int4 one per group of inputs.
  virtual bool Keeps(DType weights) const {
    return weights == DType::kF32 || weights == DType::kBF16;
  }
  // What activations are rounded to before they meet a weight of `weights`: bf16 for bf16 weights
  // where the hardware multiplies bf16, int8 for int8 and int4, else f32. Buffers passed as `void*`
  // activations below hold rows of this type (kernels/activation_row.h).
  virtual DType activation_dtype(DType weights) const = 0;

  // Why models of this shape cannot be run, naming the field of config.json and the limit; empty:
  // they can.
  virtual std::string WhyNot(const ModelShape&) const { return ""; }
  // Changes while a model is loaded. Any thread.
  virtual DeviceFacts facts() const { return {.name = name()}; }
  // As many rows as a step of `rows` decodes is best filled up to: steps of few different sizes can
  // be prepared once and enqueued again and again. `rows` itself where that is worth nothing.
  virtual int32_t PaddedRows(int32_t rows) const { return rows; }
  // None: the backend computes in host memory, and so do data() and KvView::base point there. Any
  // thread.
  virtual std::optional<DeviceMemory> memory() const { return std::nullopt; }

  virtual std::unique_ptr<Buffer> Allocate(size_t bytes) = 0;
  // Packs the parts, stacked by rows (q, k, v or gate, up), into one weight. All parts have the
  // same number of columns. `target` is the precision to keep, one that Keeps() answers for. Int8
  // has at most kInt8ColsMax columns. The parts have been read when it returns; on a device they
  // may be there only after Synchronize().
  virtual std::unique_ptr<Matrix> LoadMatrix(std::span<const HostMatrix> parts, DType target) = 0;
  // Packs a weight of one row or column count as f32.
  virtual Vector LoadVector(std::span<const HostMatrix> parts) = 0;
  // Told once, when a model and its scratch memory are there: a backend that has several ways to
  // multiply may measure them now, because in a step it must not. What is not told of is computed
  // all the same.
  virtual void PrepareGemms(std::span<const GemmUse> /*uses*/) {}

  // out[t, :] = table[ids[t], :] as f32.  ids: host, [T], each in [0, N) or, below 0, the place of
  // one in `sampled`, which SampleAhead() wrote: -1 is sampled[0]. Without any, it may be null.
  virtual void Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled,
                     int32_t num_tokens, float* out) = 0;
  // out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + epsilon) * weight, rounded to `out_dtype`.
  virtual void RmsNorm(const float* x, const float* weight, float epsilon, int32_t num_tokens,
                       int32_t hidden, DType out_dtype, void* out) = 0;
  // y = x W^T (+ bias): x [T, K] of activation_dtype(), out [T, N] f32, stored or added. In int8
  // the sum of products is exact, and y = sum * (the row's scale * the output's scale) + bias. In
  // int4 those of the groups are, and join by rising multiply-adds: total = fma(sum, the group's
  // scale, total), y = total * the row's scale + bias.
  virtual void Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                    GemmOutput output, float* out) = 0;
  // out[t, f] = silu(gate_up[t, f]) * gate_up[t, F + f], rounded to `out_dtype`.
  virtual void SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate,
                       DType out_dtype, void* out) = 0;
  // Normalises (if asked) and rotates q and k ("neox" halves: i with i + D/2), writes q [T, Hq, D]
  // in f32 and k, v into their slots of `layer`, rounded to kv.dtype.
  virtual void RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer,
                              float* q_out) = 0;
  // Causal softmax(q k^T * scale) v over the paged cache. q [T, Hq, D] f32; out [T, Hq, D] of
  // `out_dtype`. `window` 0: the whole context; else position p sees p - window + 1 … p.
  virtual void Attention(const float* q, const KvView& kv, int32_t layer, int32_t num_q_heads,
                         std::span<const AttentionSequence> sequences, float scale, int32_t window,
                         DType out_dtype, void* out) = 0;
  // out[i, :] = x[rows[i], :], rows of `row_bytes`. rows: host.
  virtual void GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                          void* out) = 0;

  // Picks one token per entry from logits [R, V] f32 (device); see sampling.h. Results are on the
  // host when it returns.
  virtual void Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                      std::span<SampledToken> out) = 0;

  // Whether operations are done some time after they return, so that a device is kept busy by a
  // host that gives it the next step before it asks what came of the last one.
  virtual bool is_asynchronous() const { return false; }
  // Whether SampleAhead() can do it: nothing but tokens is asked for.
  virtual bool CanSampleAhead(std::span<const SampleArgs>) const { return false; }
  // As Sample(), but leaves the tokens in device memory: tokens[i] is row i's, and behind those of
  // `rows` so many more are written to as PaddedRows() adds.
  virtual void SampleAhead(const float* /*logits*/, int32_t /*vocab*/,
                           std::span<const SampleArgs> /*rows*/, int32_t* /*tokens*/) {}
  // CopyToHost() that is waited for later: once WaitForCopy() of what this returned has come back,
  // `host` holds the bytes and all is done that came before. Two at most are to be waited for at
  // any time, in their order; where there are two, the first one before any other operation.
  virtual uint64_t CopyToHostLater(const void* device, void* host, size_t bytes) {
    CopyToHost(device, host, bytes);
    return 0;
  }
  virtual void WaitForCopy(uint64_t /*copy*/) {}

  // Copies between device and host memory, ordered with the operations above.
  virtual void CopyToHost(const void* device, void* host, size_t bytes) = 0;
  virtual void CopyToDevice(const void* host, void* device, size_t bytes) = 0;
  virtual void Synchronize() = 0;

  // The same for many pieces, waited for once.
  virtual void CopyAllToHost(std::span<const HostCopy> pieces) {
    for (const HostCopy& piece : pieces) CopyToHost(piece.device, piece.host, piece.bytes);
  }
  virtual void CopyAllToDevice(std::span<const HostCopy> pieces) {
    for (const HostCopy& piece : pieces) CopyToDevice(piece.host, piece.device, piece.bytes);
  }
  // Host memory that is copied to or from again and again: a device reaches it directly then.
  // False: it does not, and copies go a longer way. UnpinHost() comes before pinned memory goes.
  virtual bool PinHost(void* /*memory*/, size_t /*bytes*/) { return false; }
  virtual void UnpinHost(void* /*memory*/) {}
};

struct CpuOptions {
  int num_threads = 0;  // 0: as many as the process may run on
  std::string isa =
      "auto";  // auto | avx512_bf16 | avx512 | avx2: refuse-able at start, see MakeCpuBackend
};

// Null when the machine lacks `isa` (the caller names the flag in its error).
std::unique_ptr<Backend> MakeCpuBackend(const CpuOptions& options);
std::unique_ptr<Backend> MakeReferenceBackend();

}  // namespace baton::kernels
