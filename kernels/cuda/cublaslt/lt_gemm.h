#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cuda/cublaslt/library.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/gemm/gemm_kind.h"

namespace baton::kernels::cuda {

// How cuBLASLt makes one product.
struct LtCandidate {
  cublaslt::Algorithm algorithm;
  size_t workspace_bytes = 0;
};

// GEMMs of one kind by cuBLASLt: what GemmArgs says for bf16, to other bits. Its descriptors are
// changed from call to call: one owner thread. The library's handle outlives it.
class LtGemm {
 public:
  static Error Create(const cublaslt::Library& library, cublaslt::Handle handle,
                      const GemmKind& kind, std::unique_ptr<LtGemm>* made);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  LtGemm& operator=(const LtGemm&) = delete;

  // What the library proposes for `args`, likely ones first, needing at most so much workspace.
  // None: it has nothing for them.
  Error Propose(const GemmArgs& args, size_t workspace_bytes_max, int candidates_max,
                std::vector<LtCandidate>* candidates);
  // Whether a candidate can make this product too, in its workspace.
  bool Accepts(const GemmArgs& args, const LtCandidate& candidate);
  // Orders the product on the stream. `workspace` is a multiple of 256 and free on that stream.
  cublaslt::Status Enqueue(const GemmArgs& args, const LtCandidate& candidate, void* workspace,
                           Stream stream);

 private:
  LtGemm(const cublaslt::Library& library, cublaslt::Handle handle, const GemmKind& kind)
      : call_(library.call), handle_(handle), kind_(kind) {}
  cublaslt::Status Describe();
  // Of the tokens and the bias of this call.
  cublaslt::Status Set(const GemmArgs& args);

  const cublaslt::Functions& call_;
  const cublaslt::Handle handle_;
  const GemmKind kind_;
  cublaslt::Product product_ = nullptr;
  cublaslt::Layout w_ = nullptr, x_ = nullptr, out_ = nullptr;
  int32_t num_tokens_ = 0;  // as the layouts say
};

// A choice for one kind and some numbers of tokens. Stays where it is while launches may name it.
struct LtChoice {
  LtGemm* gemm = nullptr;
  LtCandidate candidate;
  void* workspace = nullptr;
  bool is_refused = false;  // the library did not take it once: own kernels serve
};

// A GEMM that goes to cuBLASLt, and to own kernels when the library refuses what it proposed.
struct LtGemmArgs {
  GemmArgs gemm;
  LtChoice* choice = nullptr;
};

Error Check(const LtGemmArgs& args);
GemmPlan Choose(const LtGemmArgs& args, const DeviceTraits& device);
// An error is the library's, after which the device is not to be trusted.
Error Launch(const LtGemmArgs& args, const GemmPlan& own, Stream stream);

}  // namespace baton::kernels::cuda
