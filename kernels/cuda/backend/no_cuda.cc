#include "kernels/cuda.h"

// For builds without the CUDA toolkit.
namespace baton::kernels {
namespace {

constexpr const char* kWhyNone = "this build has no CUDA (cmake --preset cuda makes one that has)";

}  // namespace

CudaProbe ProbeCuda() { return {.devices = {}, .why_none = kWhyNone}; }
CudaOpening MakeCudaBackend(const CudaOptions&) { return {.backend = nullptr, .error = kWhyNone}; }

CudaJoining JoinCudaBackends(const std::vector<Backend*>&) {
  return {.collectives = {}, .error = kWhyNone};
}

}  // namespace baton::kernels
