#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda.h"
#include "kernels/cuda/backend/attention_batch.h"
#include "kernels/cuda/backend/bucket.h"
#include "kernels/cuda/backend/launch_queue.h"
#include "kernels/cuda/backend/staging.h"
#include "kernels/cuda/backend/weight_uploader.h"
#include "kernels/cuda/launch/run.h"
#include "kernels/cuda/runtime/runtime.h"
#include "kernels/cuda/tuning/gemm_chooser.h"

namespace baton::kernels::cuda {

// Backend on one GPU, or on the emulation of one. Operations return at once: they are held back
// until their results are asked for or Synchronize() is called, then enqueued on one stream, those
// of a step that came before as a graph (LaunchQueue). What they were given on the host has been
// copied when they return; device memory must not be freed before they were waited for. An
// operation that cannot be enqueued, or has failed on the device, ends the process by
// CudaOptions::on_failure.
//
// Memory is allocated while models are loaded, and never in a step.
class CudaBackend final : public Backend {
 public:
  static Error Create(const CudaOptions& options, std::unique_ptr<Backend>* backend);
  ~CudaBackend() override;

  std::string name() const override;
  DType activation_dtype(DType weights) const override { return weights; }
  std::string WhyNot(const ModelShape& shape) const override;
  DeviceFacts facts() const override;
  std::optional<DeviceMemory> memory() const override;
  int32_t PaddedRows(int32_t rows) const override {
    return options_.graphs_max == 0 ? rows : BucketOf(rows);
  }

  // What became of the launches so far.
  const LaunchQueue::Counts& launch_counts() const { return launches_.counts(); }

  // How many GEMMs of steps went to whom.
  struct GemmCounts {
    uint64_t own = 0;
    uint64_t library = 0;
  };
  const GemmCounts& gemm_counts() const { return gemm_counts_; }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override;
  std::unique_ptr<Matrix> LoadMatrix(std::span<const HostMatrix> parts, DType target) override;
  Vector LoadVector(std::span<const HostMatrix> parts) override;
  void PrepareGemms(std::span<const GemmUse> uses) override;

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
  bool is_asynchronous() const override { return true; }
  bool CanSampleAhead(std::span<const SampleArgs> rows) const override;
  void SampleAhead(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                   int32_t* tokens) override;
  uint64_t CopyToHostLater(const void* device, void* host, size_t bytes) override;
  void WaitForCopy(uint64_t copy) override;

  void CopyToHost(const void* device, void* host, size_t bytes) override;
  void CopyToDevice(const void* host, void* device, size_t bytes) override;
  void Synchronize() override;
  void CopyAllToHost(std::span<const HostCopy> pieces) override;
  void CopyAllToDevice(std::span<const HostCopy> pieces) override;
  bool PinHost(void* memory, size_t bytes) override;
  void UnpinHost(void* memory) override;

  // The stream, with everything before on it, after making the device the calling thread's. Public
  // for those who join backends (collective/).
  Stream stream();

 private:
  // A copy that is on its way to pinned memory, and where it is to go.
  struct CopyLater {
    Event done;
    std::byte* pinned = nullptr;
    void* host = nullptr;
    size_t bytes = 0;
  };
  // One launch of Attention(), as its caller gave it.
  struct AttentionCall {
    const float* q;
    const KvView& kv;
    int32_t layer;
    int32_t num_q_heads;
    float scale;
    int32_t window;
    DType out_dtype;
    std::byte* out;
  };

  CudaBackend(const CudaOptions& options, DeviceInfo info);
  Error Prepare();
  Error PrepareChooser();

  // For what launches that are still held back have nothing to do with.
  Stream StreamForUploads();
  // Ends the process when there is an error.
  void Expect(const Error& error) const;
  template <typename Args>
  void Launch(const Args& args) {
    Expect(Check(args));
    launches_.Add(args);
    if (launches_.is_long()) stream();
  }

  // Room in the staging memory, after waiting for what is in the way.
  Staging::Room TakeRoom(size_t bytes);
  const std::byte* UploadBytes(const void* bytes, size_t count);
  template <typename T>
  const T* Upload(std::span<const T> values) {
    return reinterpret_cast<const T*>(UploadBytes(values.data(), values.size_bytes()));
  }
  template <typename T>
  const T* Upload(const std::vector<T>& values) {
    return Upload(std::span<const T>(values));
  }
  // The parts' elements, one part after the other, in device memory of their own; they are on their
  // way until stream() is called.
  std::unique_ptr<Buffer> UploadParts(std::span<const HostMatrix> parts, DType target);
  int UploadThreads() const;
  void FinishUploads();

  void Decode(const AttentionCall& call, std::span<const AttentionSequence> sequences);
  void Attend(const AttentionCall& call, std::span<const AttentionSequence> sequences);
  // How many sequences of this context the workspace is enough for.
  size_t DecodesAtOnce(const AttentionCall& call, int32_t context_tokens_max) const;

  using Samples = std::span<const SampleArgs>;
  // One token per entry of `rows`, which are all for the device. Penalties are written to logits.
  void LaunchSampling(float* logits, int32_t vocab, Samples rows, int32_t* tokens);
  // For the samples at these indices. On the device so many rows as in `launched`, of which the
  // last ones only fill up.
  void SampleOnHost(const float* logits, int32_t vocab, Samples rows, std::span<const size_t> which,
                    std::span<SampledToken> out);
  void SampleOnDevice(float* logits, int32_t vocab, std::span<const SampleArgs> rows,
                      std::span<const size_t> which, int32_t launched, std::span<SampledToken> out);
  void SamplePenalised(const float* logits, int32_t vocab, Samples rows,
                       std::span<const size_t> which, std::span<SampledToken> out);

  const CudaOptions options_;
  const DeviceInfo info_;
  Stream stream_;
  void* staging_host_ = nullptr;
  std::unique_ptr<Buffer> staging_device_;
  std::unique_ptr<Buffer> workspace_;
  Staging staging_;
  std::array<CopyLater, 2> copies_ = {};  // by turns, as the halves of the staging memory
  uint64_t copies_later_ = 0;
  uint64_t copies_waited_for_ = 0;
  std::unique_ptr<GemmChooser> chooser_;  // null: own kernels multiply, always
  std::string why_own_gemms_;             // though others were asked for
  GemmCounts gemm_counts_;
  LaunchQueue launches_;
  std::unique_ptr<WeightUploader> uploads_;  // null but while weights are loaded
};

// The stacked shape of a weight's parts.
struct StackedShape {
  int64_t rows = 0;
  int64_t cols = 0;
};
StackedShape ShapeOf(std::span<const HostMatrix> parts);

}  // namespace baton::kernels::cuda
