#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/model/load_model.h"
#include "kernels/backend.h"
#include "kernels/collective.h"
#include "kernels/cuda.h"

namespace baton::model {

enum class DeviceKind : uint8_t { kAuto, kCpu, kCuda };

struct DeviceOptions {
  DeviceKind kind = DeviceKind::kAuto;  // auto: the first GPU that the kernels run on, else the CPU
  int32_t cuda_index = 0;               // kCuda: as the driver counts
  // CUDA: rows have the same bits in any batch.
  bool deterministic = false;
  bool cuda_graphs = true;      // CUDA: decode steps as graphs, in batches of few sizes
  bool cuda_warpgroups = true;  // CUDA: kernels on warpgroups where the GPU has them
  kernels::CudaGemm gemm = kernels::CudaGemm::kOwn;  // CUDA: who multiplies by weights in bf16
  std::string gemm_folder;  // CUDA: where times of GEMMs are kept; empty: nowhere
  // CUDA: the device does not work any more. Called on the thread that uses it; does not return.
  std::function<void(const std::string& what)> on_failure;
  int32_t threads = 0;  // of the CPU backend; 0: one per core that the process may use
  std::string isa =
      "auto";  // auto | scalar | avx2 | avx512 | avx512_bf16, of the CPU: anything but
               // auto also asks for the CPU; scalar: plain loops, slow, to compare
};

struct OpenedDevice {
  std::unique_ptr<kernels::Backend> backend;
  std::string why_no_gpu;  // that auto took the CPU; else empty
};

// The backend that a worker computes on. An error names the option, and what this machine lacks.
// The worker owns the backend; it outlives the models loaded on it.
absl::StatusOr<OpenedDevice> OpenDevice(const DeviceOptions& options);

// The devices of one worker: one for each tensor-parallel rank.
struct DeviceGroup {
  std::vector<std::unique_ptr<kernels::Backend>> backends;        // [size]
  std::vector<std::unique_ptr<kernels::Collective>> collectives;  // [size], or none for one rank
  std::string why_no_gpu;                                         // that auto took the CPU; else ""

  // For LoadModel().
  std::vector<RankDevice> ranks() const;
};

// `tensor_parallel_size` devices and what joins them: GPUs from cuda_index on, or as many CPU
// backends that share `threads`. The group outlives the models loaded on it.
absl::StatusOr<DeviceGroup> OpenDevices(const DeviceOptions& options, int32_t tensor_parallel_size);

}  // namespace baton::model
