#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/cublaslt/library.h"

// What stands where cuBLASLt is on a GPU: the same functions with the same reading of layouts,
// attributes, sizes and alignments, in plain arithmetic on the emulated device. Tests tell it what
// there is and how fast it is, and see what it was asked.
namespace baton::kernels::cuda::testing {

struct CublasLtStandIn {
  std::string why_missing;  // not empty: there is no library
  std::string version = "13.1.0";

  // What it proposes, in this order: each takes so long and so much workspace.
  struct Proposal {
    double seconds = 5e-6;
    size_t workspace_bytes = 0;
    bool is_wrong = false;        // its results are
    uint64_t tokens_max = ~0ull;  // it takes no more than so many
  };
  std::vector<Proposal> proposals = {{}};

  // Answers instead of success.
  cublaslt::Status on_create = cublaslt::Status::kSuccess;
  cublaslt::Status on_describe = cublaslt::Status::kSuccess;
  cublaslt::Status on_heuristic = cublaslt::Status::kSuccess;
  cublaslt::Status on_check = cublaslt::Status::kSuccess;
  cublaslt::Status on_multiply = cublaslt::Status::kSuccess;

  // What it was asked so far.
  int heuristics = 0;
  int products = 0;    // ordered, or recorded
  int records = 0;     // handles, descriptors and layouts that were not destroyed
  int complaints = 0;  // calls that no manual allows; the first in words
  std::string complaint;
};
// The one that Library::Load() gives in the emulation. Tests put it back: = {}.
CublasLtStandIn& TheCublasLt();

}  // namespace baton::kernels::cuda::testing
