#include "kernels/cuda/backend/cuda_backend.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/activation/silu_mul.h"
#include "kernels/cuda/backend/demands.h"
#include "kernels/cuda/backend/device_buffer.h"
#include "kernels/cuda/embedding/embed.h"
#include "kernels/cuda/embedding/gather_rows.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/norm/rms_norm.h"
#include "kernels/cuda/rope/qk_norm_rope_kv.h"

namespace baton::kernels::cuda {
namespace {

GemmArgs ArgsOf(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                GemmOutput output, float* out) {
  const auto& weights = static_cast<const DeviceMatrix&>(w);
  return {.x = x,
          .w = weights.data(),
          .dtype = weights.dtype(),
          .bias = bias,
          .out = out,
          .is_added = output == GemmOutput::kAdd,
          .num_tokens = num_tokens,
          .num_outputs = int32_t(weights.rows()),
          .num_inputs = int32_t(weights.cols())};
}

}  // namespace

Error CudaBackend::Create(const CudaOptions& options, std::unique_ptr<Backend>* backend) {
  int count = 0;
  if (Error error = CountDevices(&count)) return error;
  if (Error error = CheckPresent(options.device, count)) return error;
  DeviceInfo info;
  if (Error error = UseDevice(options.device)) return error;
  if (Error error = Describe(options.device, &info)) return error;
  if (Error error = CheckComputeCapability(info.name, info.traits.compute_capability)) {
    return error;
  }
  if (options.deterministic && options.gemm == CudaGemm::kCublasLt) {
    return "deterministic, and gemm is cublaslt: its sums may depend on the batch";
  }
  if (options.deterministic || !options.warpgroups) info.traits.has_warpgroups = false;
  std::unique_ptr<CudaBackend> made(new CudaBackend(options, std::move(info)));
  if (Error error = made->Prepare()) return error;
  *backend = std::move(made);
  return std::nullopt;
}

CudaBackend::CudaBackend(const CudaOptions& options, DeviceInfo info)
    : options_(options), info_(std::move(info)), launches_(options.graphs_max) {}

Error CudaBackend::Prepare() {
  if (Error error = CreateStream(&stream_)) return error;
  void* device = nullptr;
  if (Error error = AllocateDevice(options_.workspace_bytes, &device)) return error;
  workspace_ = std::make_unique<DeviceBuffer>(device, options_.workspace_bytes);
  if (Error error = AllocateDevice(options_.staging_bytes, &device)) return error;
  staging_device_ = std::make_unique<DeviceBuffer>(device, options_.staging_bytes);
  if (Error error = AllocatePinned(2 * options_.staging_bytes, &staging_host_)) return error;
  for (CopyLater& copy : copies_) {
    if (Error error = CreateEvent(&copy.done)) return error;
  }
  staging_ = Staging(static_cast<std::byte*>(staging_host_), staging_device_->data(),
                     options_.staging_bytes);
  return PrepareChooser();
}

// The workspace is nobody's between two launches, so cuBLASLt has it for its own.
Error CudaBackend::PrepareChooser() {
  if (options_.gemm == CudaGemm::kOwn || options_.deterministic) return std::nullopt;
  const Error error = GemmChooser::Create({.gemm = options_.gemm,
                                           .folder = options_.gemm_folder,
                                           .workspace = workspace_->data(),
                                           .workspace_bytes = options_.workspace_bytes},
                                          info_, &chooser_);
  if (!error) return std::nullopt;
  if (options_.gemm == CudaGemm::kCublasLt) return "gemm is cublaslt: " + *error;
  why_own_gemms_ = *error;
  return std::nullopt;
}

CudaBackend::~CudaBackend() {
  (void)UseDevice(options_.device);
  if (staging_host_ != nullptr) FreePinned(staging_host_);
  for (const CopyLater& copy : copies_) {
    if (copy.done.handle != nullptr) DestroyEvent(copy.done);
  }
  DestroyStream(stream_);
}

std::string CudaBackend::name() const {
  return "cuda:sm" + std::to_string(info_.traits.compute_capability) +
         (info_.traits.has_warpgroups ? ":warpgroups" : "") +
         (chooser_ != nullptr ? ":cublaslt-" + chooser_->library_version() : "") +
         (options_.deterministic ? ":deterministic" : "");
}

DeviceFacts CudaBackend::facts() const {
  Versions versions = FindVersions();
  return {.name = info_.name,
          .index = options_.device,
          .driver_version = std::move(versions.driver),
          .runtime_version = std::move(versions.runtime),
          .graphs = options_.graphs_max > 0,
          .warpgroups = info_.traits.has_warpgroups,
          .deterministic = options_.deterministic,
          .gemm = chooser_ != nullptr      ? chooser_->Summary()
                  : why_own_gemms_.empty() ? "own"
                                           : "own: " + why_own_gemms_};
}

std::optional<DeviceMemory> CudaBackend::memory() const {
  DeviceInfo now;
  Expect(Describe(options_.device, &now));
  return DeviceMemory{now.memory_bytes, now.memory_bytes_free};
}

std::string CudaBackend::WhyNot(const ModelShape& shape) const { return WhyNotOnCuda(shape); }

Stream CudaBackend::StreamForUploads() {
  Expect(UseDevice(options_.device));
  return stream_;
}

Stream CudaBackend::stream() {
  const Stream on = StreamForUploads();
  if (uploads_ != nullptr) [[unlikely]]
    FinishUploads();
  Expect(launches_.Flush(info_.traits, on));
  return on;
}

void CudaBackend::Expect(const Error& error) const {
  if (!error) [[likely]]
    return;
  if (options_.on_failure) options_.on_failure(*error);
  std::fprintf(stderr, "%s: %s\n", name().c_str(), error->c_str());
  std::abort();
}

Staging::Room CudaBackend::TakeRoom(size_t bytes) {
  // Else this half of the staging memory might still be read, or hold what is waited for.
  KERNELS_CHECK(copies_later_ <= copies_waited_for_ + 1);
  Staging::Room room = staging_.Take(bytes);
  if (room.host == nullptr) {
    Synchronize();
    room = staging_.Take(bytes);
  }
  if (room.host == nullptr) {
    Expect(std::to_string(bytes) + " bytes of a step's arrays; staging_bytes is " +
           std::to_string(staging_.bytes()));
  }
  return room;
}

const std::byte* CudaBackend::UploadBytes(const void* bytes, size_t count) {
  if (const std::byte* there = staging_.Find(bytes, count)) return there;
  const Staging::Room room = TakeRoom(count);
  std::memcpy(room.host, bytes, count);
  Expect(CopyIn(room.host, room.device, count, StreamForUploads()));
  staging_.Remember(room, count);
  return room.device;
}

void CudaBackend::Embed(const Matrix& table, const int32_t* ids, const int32_t* sampled,
                        int32_t num_tokens, float* out) {
  const auto& weights = static_cast<const DeviceMatrix&>(table);
  Launch(EmbedArgs{.table = weights.data(),
                   .table_dtype = weights.dtype(),
                   .ids = Upload(std::span(ids, size_t(num_tokens))),
                   .sampled = sampled,
                   .out = out,
                   .num_tokens = num_tokens,
                   .hidden = int32_t(weights.cols())});
}

void CudaBackend::RmsNorm(const float* x, const float* weight, float epsilon, int32_t num_tokens,
                          int32_t hidden, DType out_dtype, void* out) {
  Launch(RmsNormArgs{.x = const_cast<float*>(x),  // written only when there is something to add
                     .weight = weight,
                     .out = out,
                     .out_dtype = out_dtype,
                     .epsilon = epsilon,
                     .num_tokens = num_tokens,
                     .hidden = hidden});
}

void CudaBackend::PrepareGemms(std::span<const GemmUse> uses) {
  if (chooser_ == nullptr) return;
  std::vector<GemmArgs> all;
  for (const GemmUse& use : uses) {
    all.push_back(ArgsOf(use.x, *use.w, use.bias, use.num_tokens_max, use.output, use.out));
    Expect(Check(all.back()));
  }
  Expect(chooser_->Prepare(all, stream()));
}

void CudaBackend::Gemm(const void* x, const Matrix& w, const float* bias, int32_t num_tokens,
                       GemmOutput output, float* out) {
  const GemmArgs args = ArgsOf(x, w, bias, num_tokens, output, out);
  LtChoice* choice = chooser_ == nullptr ? nullptr : chooser_->Find(args);
  if (choice == nullptr) {
    ++gemm_counts_.own;
    Launch(args);
  } else {
    ++gemm_counts_.library;
    Launch(LtGemmArgs{.gemm = args, .choice = choice});
  }
}

void CudaBackend::SiluMul(const float* gate_up, int32_t num_tokens, int32_t intermediate,
                          DType out_dtype, void* out) {
  Launch(SiluMulArgs{.gate_up = gate_up,
                     .out = out,
                     .out_dtype = out_dtype,
                     .num_tokens = num_tokens,
                     .intermediate = intermediate});
}

void CudaBackend::RopeAndWriteKv(const QkvArgs& args, const KvView& kv, int32_t layer,
                                 float* q_out) {
  QkNormRopeKvArgs launch = {.qkv = args, .kv = kv, .layer = layer, .q_out = q_out};
  const size_t tokens = size_t(args.num_tokens);
  launch.qkv.positions = Upload(std::span(args.positions, tokens));
  launch.qkv.slots = Upload(std::span(args.slots, tokens));
  Launch(launch);
}

void CudaBackend::GatherRows(const void* x, std::span<const int32_t> rows, size_t row_bytes,
                             void* out) {
  if (rows.empty()) return;
  Launch(GatherRowsArgs{.x = static_cast<const std::byte*>(x),
                        .rows = Upload(rows),
                        .num_rows = int32_t(rows.size()),
                        .row_bytes = row_bytes,
                        .out = static_cast<std::byte*>(out)});
}

void CudaBackend::CopyToHost(const void* device, void* host, size_t bytes) {
  Expect(CopyOut(device, host, bytes, stream()));
  Synchronize();
}

void CudaBackend::CopyToDevice(const void* host, void* device, size_t bytes) {
  Expect(CopyIn(host, device, bytes, stream()));
  Synchronize();
}

// A step ends with it, as far as the staging memory goes. Nothing reads the half that comes next:
// the step before the last one, which did, has been waited for.
uint64_t CudaBackend::CopyToHostLater(const void* device, void* host, size_t bytes) {
  CopyLater& later = copies_[copies_later_ % copies_.size()];
  later.pinned = TakeRoom(bytes).host;
  const uint64_t copy = copies_later_++;
  later.host = host;
  later.bytes = bytes;
  const Stream on = stream();
  Expect(CopyOut(device, later.pinned, bytes, on));
  Expect(Mark(later.done, on));
  staging_.Flip();
  return copy;
}

void CudaBackend::WaitForCopy(uint64_t copy) {
  KERNELS_CHECK(copy == copies_waited_for_ && copy < copies_later_);
  const CopyLater& later = copies_[copy % copies_.size()];
  Expect(Wait(later.done));
  if (later.bytes > 0) std::memcpy(later.host, later.pinned, later.bytes);
  ++copies_waited_for_;
}

void CudaBackend::CopyAllToHost(std::span<const HostCopy> pieces) {
  const Stream on = stream();
  for (const HostCopy& piece : pieces) Expect(CopyOut(piece.device, piece.host, piece.bytes, on));
  Synchronize();
}

void CudaBackend::CopyAllToDevice(std::span<const HostCopy> pieces) {
  const Stream on = stream();
  for (const HostCopy& piece : pieces) Expect(CopyIn(piece.host, piece.device, piece.bytes, on));
  Synchronize();
}

bool CudaBackend::PinHost(void* memory, size_t bytes) {
  Expect(UseDevice(options_.device));
  return !cuda::PinHost(memory, bytes);
}

void CudaBackend::UnpinHost(void* memory) {
  Expect(UseDevice(options_.device));
  cuda::UnpinHost(memory);
}

void CudaBackend::Synchronize() {
  Expect(Wait(stream()));
  staging_.Reset();
}

}  // namespace baton::kernels::cuda
