// kernels/cuda.h over the CPU: linked into a worker in place of the real one, it gives it a "GPU"
// with memory of its own, which can be small and can fail, so that what a worker makes of that is
// tested where there is none. Told by environment variables, as the worker has no options for it:
//
//   STAND_IN_GPU_BYTES_FREE   memory that is free at first, of 8 GiB
//   STAND_IN_GPU_COUNT        0: there is none
//   STAND_IN_GPU_DRIVER       as CUDA numbers it, 12040 for 12.4; 0: none is installed
//   STAND_IN_GPU_CAPABILITY   compute capability, 90 for sm_90
//   STAND_IN_GPU_FAULTS       a folder: when it holds a file with the process id for a name, the
//                             next operation fails like a sticky CUDA error
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>
#include <utility>

#include "kernels/cuda.h"
#include "kernels/cuda/backend/demands.h"

namespace baton::kernels {
namespace {

constexpr size_t kMemoryBytes = size_t{8} << 30;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int NumberOf(const char* name, int otherwise) {
  const std::string text = Environment(name);
  return text.empty() ? otherwise : std::stoi(text);
}

// What the real backend refuses, in its words.
std::string WhyNone(int device) {
  constexpr int kRuntime = 13000;
  if (auto error = cuda::CheckDriver(NumberOf("STAND_IN_GPU_DRIVER", kRuntime), kRuntime)) {
    return *error;
  }
  if (auto error = cuda::CheckPresent(device, NumberOf("STAND_IN_GPU_COUNT", 1))) return *error;
  return cuda::CheckComputeCapability("Stand-in GPU", NumberOf("STAND_IN_GPU_CAPABILITY", 90))
      .value_or("");
}

size_t BytesFreeAtFirst() {
  const std::string bytes = Environment("STAND_IN_GPU_BYTES_FREE");
  return bytes.empty() ? kMemoryBytes : std::min<size_t>(kMemoryBytes, std::stoull(bytes));
}

// Counts what is taken of the device's memory.
class StandInMemory {
 public:
  explicit StandInMemory(std::atomic<size_t>& taken, size_t bytes) : taken_(taken), bytes_(bytes) {
    taken_ += bytes_;
  }
  ~StandInMemory() { taken_ -= bytes_; }
  StandInMemory(const StandInMemory&) = delete;
  StandInMemory& operator=(const StandInMemory&) = delete;

 private:
  std::atomic<size_t>& taken_;
  const size_t bytes_;
};

class StandInBuffer final : public Buffer {
 public:
  StandInBuffer(std::unique_ptr<Buffer> on_host, std::atomic<size_t>& taken)
      : on_host_(std::move(on_host)), memory_(taken, on_host_->size()) {}
  std::byte* data() override { return on_host_->data(); }
  size_t size() const override { return on_host_->size(); }

 private:
  const std::unique_ptr<Buffer> on_host_;
  const StandInMemory memory_;
};

class StandInGpu final : public Backend {
 public:
  explicit StandInGpu(CudaOptions options)
      : options_(std::move(options)), cpu_(MakeCpuBackend({.num_threads = 2})) {
    const std::string folder = Environment("STAND_IN_GPU_FAULTS");
    if (!folder.empty()) fault_file_ = fmt::format("{}/{}", folder, ::getpid());
  }

  std::string name() const override { return "cuda:stand_in"; }
  std::string WhyNot(const ModelShape& shape) const override { return cuda::WhyNotOnCuda(shape); }
  DType activation_dtype(DType weights) const override { return cpu_->activation_dtype(weights); }
  DeviceFacts facts() const override {
    return {.name = "Stand-in GPU",
            .index = options_.device,
            .driver_version = "0.2",
            .runtime_version = "0.1"};
  }
  std::optional<DeviceMemory> memory() const override {
    const size_t at_first = BytesFreeAtFirst();
    return DeviceMemory{kMemoryBytes, at_first - std::min(at_first, taken_.load())};
  }

  std::unique_ptr<Buffer> Allocate(size_t bytes) override {
    return std::make_unique<StandInBuffer>(cpu_->Allocate(bytes), taken_);
  }
  std::unique_ptr<Matrix> LoadMatrix(std::span<const HostMatrix> parts, DType target) override {
    auto matrix = cpu_->LoadMatrix(parts, target);
    taken_ += matrix->bytes();  // weights stay
    return matrix;
  }
  Vector LoadVector(std::span<const HostMatrix> parts) override { return cpu_->LoadVector(parts); }

  void Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled, int32_t num_tokens,
             float* out) override {
    cpu_->Embed(table, ids, sampled, num_tokens, out);
  }
  void RmsNorm(const float* x, const float* weight, float epsilon, int32_t num_tokens,
               int32_t hidden, DType out_dtype, void* out) override {
    cpu_->RmsNorm(x, weight, epsilon, num_tokens, hidden, out_dtype, out);
  }
  void Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
            GemmOutput output, float* out) override {
    FailIfAsked();
    cpu_->Gemm(x, w, bias, num_tokens, output, out);
  }
  void SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate, DType out_dtype,
               void* out) override {
    cpu_->SiluMul(gate_up, num_tokens, intermediate, out_dtype, out);
  }
  void RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer, float* q_out) override {
    cpu_->RopeAndWriteKv(args, kv, layer, q_out);
  }
  void Attention(const float* q, const KvView& kv, int32_t layer, int32_t num_q_heads,
                 std::span<const AttentionSequence> sequences, float scale, int32_t window,
                 DType out_dtype, void* out) override {
    cpu_->Attention(q, kv, layer, num_q_heads, sequences, scale, window, out_dtype, out);
  }
  void GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                  void* out) override {
    cpu_->GatherRows(x, rows, row_bytes, out);
  }
  void Sample(const float* logits, int32_t vocab, std::span<const SampleArgs> rows,
              std::span<SampledToken> out) override {
    cpu_->Sample(logits, vocab, rows, out);
  }
  void CopyToHost(const void* device, void* host, size_t bytes) override {
    cpu_->CopyToHost(device, host, bytes);
  }
  void CopyToDevice(const void* host, void* device, size_t bytes) override {
    cpu_->CopyToDevice(host, device, bytes);
  }
  void Synchronize() override { cpu_->Synchronize(); }
  bool PinHost(void*, size_t) override { return true; }

 private:
  void FailIfAsked() {
    if (fault_file_.empty() || ::access(fault_file_.c_str(), F_OK) != 0) return;
    options_.on_failure("cudaStreamSynchronize: an illegal memory access was encountered");
  }

  const CudaOptions options_;
  const std::unique_ptr<Backend> cpu_;
  std::string fault_file_;
  std::atomic<size_t> taken_ = 0;
};

}  // namespace

CudaProbe ProbeCuda() {
  if (std::string why = WhyNone(0); !why.empty()) {
    return {.devices = {}, .why_none = std::move(why)};
  }
  return {.devices = {{.index = 0,
                       .name = "Stand-in GPU",
                       .compute_capability = 90,
                       .memory_bytes = kMemoryBytes,
                       .memory_bytes_free = BytesFreeAtFirst()}},
          .why_none = ""};
}

CudaOpening MakeCudaBackend(const CudaOptions& options) {
  if (std::string why = WhyNone(options.device); !why.empty()) {
    return {.backend = nullptr, .error = std::move(why)};
  }
  return {.backend = std::make_unique<StandInGpu>(options), .error = ""};
}

CudaJoining JoinCudaBackends(const std::vector<Backend*>&) {
  return {.collectives = {}, .error = "there is one stand-in GPU"};
}

}  // namespace baton::kernels
