#include <cublasLt.h>

#include <type_traits>

#include "kernels/cuda/cublaslt/abi.h"

// Compiled where cublasLt.h is there: that abi.h says what it says.
namespace baton::kernels::cuda::cublaslt {
namespace {

template <typename Ours, typename Theirs>
constexpr bool Same(Ours ours, Theirs theirs) {
  return static_cast<int64_t>(ours) == static_cast<int64_t>(theirs) && sizeof ours == sizeof theirs;
}

static_assert(Same(Status::kSuccess, CUBLAS_STATUS_SUCCESS));
static_assert(Same(Status::kNotInitialized, CUBLAS_STATUS_NOT_INITIALIZED));
static_assert(Same(Status::kAllocationFailed, CUBLAS_STATUS_ALLOC_FAILED));
static_assert(Same(Status::kInvalidValue, CUBLAS_STATUS_INVALID_VALUE));
static_assert(Same(Status::kArchMismatch, CUBLAS_STATUS_ARCH_MISMATCH));
static_assert(Same(Status::kMappingError, CUBLAS_STATUS_MAPPING_ERROR));
static_assert(Same(Status::kExecutionFailed, CUBLAS_STATUS_EXECUTION_FAILED));
static_assert(Same(Status::kInternalError, CUBLAS_STATUS_INTERNAL_ERROR));
static_assert(Same(Status::kNotSupported, CUBLAS_STATUS_NOT_SUPPORTED));
static_assert(Same(Status::kLicenseError, CUBLAS_STATUS_LICENSE_ERROR));
static_assert(Same(DataType::kF32, CUDA_R_32F) && Same(DataType::kBF16, CUDA_R_16BF));
static_assert(Same(ComputeType::kF32, CUBLAS_COMPUTE_32F));
static_assert(Same(Transpose::kNo, CUBLAS_OP_N) && Same(Transpose::kYes, CUBLAS_OP_T));
static_assert(Same(Epilogue::kDefault, CUBLASLT_EPILOGUE_DEFAULT));
static_assert(Same(Epilogue::kBias, CUBLASLT_EPILOGUE_BIAS));
static_assert(Same(LayoutAttribute::kCols, CUBLASLT_MATRIX_LAYOUT_COLS));
static_assert(Same(ProductAttribute::kTransposeA, CUBLASLT_MATMUL_DESC_TRANSA));
static_assert(Same(ProductAttribute::kTransposeB, CUBLASLT_MATMUL_DESC_TRANSB));
static_assert(Same(ProductAttribute::kEpilogue, CUBLASLT_MATMUL_DESC_EPILOGUE));
static_assert(Same(ProductAttribute::kBiasPointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER));
static_assert(Same(PreferenceAttribute::kWorkspaceBytesMax,
                   CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
static_assert(Same(PreferenceAttribute::kAlignmentMinA,
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES));
static_assert(Same(PreferenceAttribute::kAlignmentMinB,
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES));
static_assert(Same(PreferenceAttribute::kAlignmentMinC,
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES));
static_assert(Same(PreferenceAttribute::kAlignmentMinD,
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES));
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(HeuristicResult, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(HeuristicResult, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

// That each function takes as many arguments as ours, all of the same size.
template <typename Ours, typename Theirs>
struct SameCall : std::false_type {};
template <typename Our, typename... Ours, typename Their, typename... Theirs>
struct SameCall<Our (*)(Ours...), Their (*)(Theirs...)>
    : std::bool_constant<sizeof...(Ours) == sizeof...(Theirs) && sizeof(Our) == sizeof(Their) &&
                         ((sizeof(Ours) == sizeof(Theirs) &&
                           std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>) &&
                          ...)> {};

static_assert(SameCall<decltype(Functions::create), decltype(&cublasLtCreate)>());
static_assert(SameCall<decltype(Functions::destroy), decltype(&cublasLtDestroy)>());
static_assert(SameCall<decltype(Functions::get_version), decltype(&cublasLtGetVersion)>());
static_assert(
    SameCall<decltype(Functions::layout_create), decltype(&cublasLtMatrixLayoutCreate)>());
static_assert(
    SameCall<decltype(Functions::layout_destroy), decltype(&cublasLtMatrixLayoutDestroy)>());
static_assert(
    SameCall<decltype(Functions::layout_set), decltype(&cublasLtMatrixLayoutSetAttribute)>());
static_assert(SameCall<decltype(Functions::product_create), decltype(&cublasLtMatmulDescCreate)>());
static_assert(
    SameCall<decltype(Functions::product_destroy), decltype(&cublasLtMatmulDescDestroy)>());
static_assert(
    SameCall<decltype(Functions::product_set), decltype(&cublasLtMatmulDescSetAttribute)>());
static_assert(
    SameCall<decltype(Functions::preference_create), decltype(&cublasLtMatmulPreferenceCreate)>());
static_assert(SameCall<decltype(Functions::preference_destroy),
                       decltype(&cublasLtMatmulPreferenceDestroy)>());
static_assert(SameCall<decltype(Functions::preference_set),
                       decltype(&cublasLtMatmulPreferenceSetAttribute)>());
static_assert(
    SameCall<decltype(Functions::heuristic), decltype(&cublasLtMatmulAlgoGetHeuristic)>());
static_assert(SameCall<decltype(Functions::check), decltype(&cublasLtMatmulAlgoCheck)>());
static_assert(SameCall<decltype(Functions::multiply), decltype(&cublasLtMatmul)>());

}  // namespace
}  // namespace baton::kernels::cuda::cublaslt
