#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/collective.h"

// The backend of NVIDIA GPUs. These are always there to be called: a build without CUDA answers
// that it is one, and a machine without a driver or a GPU is told apart from one with too old a
// driver.
namespace baton::kernels {

// Who multiplies by weights in bf16.
enum class CudaGemm : uint8_t {
  kOwn,   // our own kernels: bits are the same with every driver, library and batch that they
          // are the same with today
  kAuto,  // for every size who was faster when measured: own kernels, or cuBLASLt if it is there
  kCublasLt,  // cuBLASLt, where it can
};

struct CudaOptions {
  int device = 0;  // as the driver counts
  // One kernel for every attention row, so that a row has the same bits in any batch and any chunks
  // (promise 1); decodes are slower by it.
  bool deterministic = false;
  // Kernels on warpgroups (wgmma, TMA), where the GPU has them (sm_90): large GEMMs and prompts.
  // Off: the kernels that every GPU has. Deterministic ones are always those.
  bool warpgroups = true;
  CudaGemm gemm = CudaGemm::kOwn;  // not kCublasLt when deterministic, which makes kAuto kOwn
  // Where times that GEMMs took are kept, a small file per GPU; made when missing. Empty: nowhere,
  // they are measured whenever a model is loaded.
  std::string gemm_folder;
  // Steps whose launches are kept as graphs, one per size of batch and reach of its contexts, of
  // which there are few (Backend::PaddedRows); 0: none, and batches are not filled up.
  size_t graphs_max = 32;
  size_t staging_bytes = 32 << 20;    // pinned host memory for a step's small arrays
  size_t workspace_bytes = 64 << 20;  // device memory for partial results
  // While weights are loaded: threads that read and convert them, 0: one per core, at most 8; and
  // the pinned memory that each of them has twice.
  int upload_threads = 0;
  size_t upload_chunk_bytes = 8 << 20;
  // The device does not work any more: called on the owner thread with the CUDA runtime's words.
  // Does not return: the process ends, because nothing on the device can be trusted. Empty: prints
  // them and aborts.
  std::function<void(const std::string& what)> on_failure;
};

struct CudaDevice {
  int index = 0;
  std::string name;            // "NVIDIA H200"
  int compute_capability = 0;  // 90 for sm_90
  size_t memory_bytes = 0;
  size_t memory_bytes_free = 0;
};

struct CudaProbe {
  std::vector<CudaDevice> devices;
  std::string why_none;  // when there are none
};
CudaProbe ProbeCuda();

struct CudaOpening {
  std::unique_ptr<Backend> backend;  // null on an error
  std::string error;                 // "" or what stands in the way
};
CudaOpening MakeCudaBackend(const CudaOptions& options);

// Joins backends that MakeCudaBackend() made, one per GPU, into one tensor-parallel group by NCCL.
// Operations are enqueued on the backends' streams.
struct CudaJoining {
  std::vector<std::unique_ptr<Collective>> collectives;  // by backend; empty on an error
  std::string error;                                     // "" or what stands in the way
};
CudaJoining JoinCudaBackends(const std::vector<Backend*>& backends);

}  // namespace baton::kernels
