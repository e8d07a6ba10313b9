#pragma once

#include <cstddef>
#include <cstdint>

// The part of cuBLASLt's C interface that is called here, written down so that nothing of the
// library is needed to compile, and the tests' stand-in speaks the same. abi_check.cc compares it
// with cublasLt.h where that is found. A matrix is [rows][cols], by columns unless its layout says
// otherwise; `leading` is elements from one column to the next.
namespace baton::kernels::cuda::cublaslt {

enum class Status : int32_t {
  kSuccess = 0,
  kNotInitialized = 1,
  kAllocationFailed = 3,
  kInvalidValue = 7,
  kArchMismatch = 8,
  kMappingError = 11,
  kExecutionFailed = 13,
  kInternalError = 14,
  kNotSupported = 15,
  kLicenseError = 16,
};

enum class DataType : int32_t { kF32 = 0, kBF16 = 14 };
enum class ComputeType : int32_t { kF32 = 68 };
enum class Transpose : int32_t { kNo = 0, kYes = 1 };
enum class Epilogue : uint32_t { kDefault = 1, kBias = 4 };

// What SetAttribute calls name, each with the type of its value.
enum class LayoutAttribute : int32_t {
  kCols = 3,  // uint64_t
};
enum class ProductAttribute : int32_t {
  kTransposeA = 3,   // Transpose
  kTransposeB = 4,   // Transpose
  kEpilogue = 7,     // Epilogue
  kBiasPointer = 8,  // const void*
};
enum class PreferenceAttribute : int32_t {
  kWorkspaceBytesMax = 1,  // size_t
  kAlignmentMinA = 5,      // uint32_t, as the three after it
  kAlignmentMinB = 6,
  kAlignmentMinC = 7,
  kAlignmentMinD = 8,
};

// Opaque to all but the library.
using Handle = struct HandleRecord*;
using Layout = struct LayoutRecord*;
using Product = struct ProductRecord*;  // cublasLtMatmulDesc_t
using Preference = struct PreferenceRecord*;

// An algorithm as configured for a product. Plain bytes: may be kept, and used again with the same
// version of the library.
struct Algorithm {
  uint64_t data[8] = {};
  friend bool operator==(const Algorithm&, const Algorithm&) = default;
};

struct HeuristicResult {
  Algorithm algorithm;
  size_t workspace_bytes = 0;
  Status state = Status::kNotInitialized;  // the others mean something when this is kSuccess
  float waves = 0;
  int32_t reserved[4] = {};
};

// The functions, each by the name that the library exports.
struct Functions {
  Status (*create)(Handle*) = nullptr;                                      // cublasLtCreate
  Status (*destroy)(Handle) = nullptr;                                      // cublasLtDestroy
  size_t (*get_version)() = nullptr;                                        // …GetVersion
  Status (*layout_create)(Layout*, DataType, uint64_t rows, uint64_t cols,  // …MatrixLayoutCreate
                          int64_t leading) = nullptr;
  Status (*layout_destroy)(Layout) = nullptr;
  Status (*layout_set)(Layout, LayoutAttribute, const void*, size_t) = nullptr;
  Status (*product_create)(Product*, ComputeType, DataType scale) = nullptr;  // …MatmulDescCreate
  Status (*product_destroy)(Product) = nullptr;
  Status (*product_set)(Product, ProductAttribute, const void*, size_t) = nullptr;
  Status (*preference_create)(Preference*) = nullptr;  // …PreferenceCreate
  Status (*preference_destroy)(Preference) = nullptr;
  Status (*preference_set)(Preference, PreferenceAttribute, const void*, size_t) = nullptr;
  Status (*heuristic)(Handle, Product, Layout a, Layout b, Layout c, Layout d,  // …AlgoGetHeuristic
                      Preference, int wanted, HeuristicResult*, int* found) = nullptr;
  Status (*check)(Handle, Product, Layout a, Layout b, Layout c, Layout d,  // …AlgoCheck
                  const Algorithm*, HeuristicResult*) = nullptr;
  // d = alpha op(a) op(b) + beta c. A null algorithm: the library chooses.
  Status (*multiply)(Handle, Product, const void* alpha, const void* a, Layout,  // cublasLtMatmul
                     const void* b, Layout, const void* beta, const void* c, Layout, void* d,
                     Layout, const Algorithm*, void* workspace, size_t workspace_bytes,
                     void* stream) = nullptr;
};

}  // namespace baton::kernels::cuda::cublaslt
