#pragma once

#include "kernels/backend.h"

namespace baton::kernels {

// The slow, obvious twin of every operation: plain loops over row-major f32, one thread, no
// cleverness. What it says is right; every other backend is tested against it.
class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference"; }
  bool Keeps(DType weights) const override {
    return IsQuantizedWeight(weights) || Backend::Keeps(weights);
  }
  DType activation_dtype(DType weights) const override {
    return IsQuantizedWeight(weights) ? DType::kInt8 : DType::kF32;
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
};

}  // namespace baton::kernels
