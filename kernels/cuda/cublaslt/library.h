#pragma once

#include <string>
#include <vector>

#include "kernels/cuda/cublaslt/abi.h"

namespace baton::kernels::cuda::cublaslt {

// cuBLASLt as it is there when a worker starts. It is half a gigabyte, so it is not packed with
// Baton, and a program runs where there is none.
struct Library {
  Functions call;
  std::string version;  // "13.1.0"

  // Loaded once and kept for the life of the process; null, and why, when it cannot be. In the
  // emulation: the tests' stand-in (testing/cublaslt_stand_in.h). Any thread.
  static const Library* Load(std::string* error);
};

struct Loading {
  Library library;
  std::string error;  // "" or why it cannot be used
};
// The first of these files that can be opened, as the dynamic linker looks for them.
Loading LoadLibrary(const std::vector<std::string>& names);

// What a status means, in words: "CUBLAS_STATUS_NOT_SUPPORTED (15)".
std::string TextOf(Status status);

}  // namespace baton::kernels::cuda::cublaslt
