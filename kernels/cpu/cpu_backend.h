#pragma once

#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels {

// The fast backend of machines without a GPU. "Device" memory is host memory, and every operation
// is done when it returns. Used by one owner thread; the pool's workers belong to it.
class CpuBackend final : public Backend {
 public:
  CpuBackend(const IsaOps& ops, int num_threads);

  std::string name() const override { return std::string("cpu:") + ops_.name; }
  bool Keeps(DType weights) const override {
    return IsQuantizedWeight(weights) || Backend::Keeps(weights);
  }
  DType activation_dtype(DType weights) const override {
    if (IsQuantizedWeight(weights)) return DType::kInt8;
    return weights == DType::kBF16 && ops_.bf16_dot ? DType::kBF16 : DType::kF32;
  }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override;
  std::unique_ptr<Matrix> LoadMatrix(std::span<const HostMatrix> parts, DType target) override;
  Vector LoadVector(std::span<const HostMatrix> parts) override;

  void Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled, int32_t num_tokens,
             float* out) override;
  void RmsNorm(const float* x, const float* weight, float epsilon, int32_t num_tokens,
               int32_t hidden, DType out_dtype, void* out) override;
  void Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
            GemmOutput output, float* out) override;
  void SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate, DType out_dtype,
               void* out) override;
  void RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer, float* q_out) override;
  void Attention(const float* q, const KvView& kv, int32_t layer, int32_t num_q_heads,
                 std::span<const AttentionSequence> sequences, float scale, int32_t window,
                 DType out_dtype, void* out) override;
  void GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                  void* out) override;
  void Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
              std::span<SampledToken> out) override;

  void CopyToHost(const void* device, void* host, size_t bytes) override;
  void CopyToDevice(const void* host, void* device, size_t bytes) override;
  void Synchronize() override {}

 private:
  // Calls fn(first, end, thread) for pieces of [0, count) whose work, `cost` bytes each, is worth a
  // task.
  template <typename Fn>
  void ForRows(int64_t count, int64_t cost, const Fn& fn);
  // Calls fn(row, into), which makes `width` f32, and rounds them to row `row` of `out`.
  template <typename Fn>
  void QuantizeRows(int64_t count, int32_t width, int64_t cost, void* out, const Fn& fn);
  void RopeToken(const QkvArgs& args, const KvView& kv, int32_t layer, int32_t token, float* q_out);

  const IsaOps& ops_;
  ThreadPool pool_;
  GemmRunner gemm_;
  AttentionRunner attention_;
  std::vector<Scratch> per_thread_;
  Scratch attended_;  // [T, Hq, D] f32, on its way to int8
};

}  // namespace baton::kernels
