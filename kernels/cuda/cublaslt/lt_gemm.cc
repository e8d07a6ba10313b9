#include "kernels/cuda/cublaslt/lt_gemm.h"

#include <initializer_list>

// cuBLASLt's matrices lie by columns, ours by rows. The same bytes read the other way round are the
// transposed matrix, so what it is asked for is out^T = W x^T:
//
//   ours, by rows    as it sees them, by columns
//   W    [N][K]      a  [K, N], transposed by the product: W
//   x    [T][K]      b  [K, T]: x^T
//   out  [T][N]      d  [N, T]: out^T, and c, the same memory, where out is added to
//   bias [N]         one value per row of d
namespace baton::kernels::cuda {

using cublaslt::Status;

namespace {

constexpr uint32_t kAlignment = 16;  // what Check() asks of pointers

// The first that is not success.
Status FirstOf(std::initializer_list<Status> statuses) {
  for (const Status status : statuses) {
    if (status != Status::kSuccess) return status;
  }
  return Status::kSuccess;
}

Error ErrorOf(const char* call, Status status) {
  if (status == Status::kSuccess) return std::nullopt;
  return std::string(call) + ": " + cublaslt::TextOf(status);
}

// The library has looked at a product and left it; nothing was ordered.
bool IsRefusal(Status status) {
  return status == Status::kNotSupported || status == Status::kInvalidValue ||
         status == Status::kArchMismatch;
}

}  // namespace

Error LtGemm::Create(const cublaslt::Library& library, cublaslt::Handle handle,
                     const GemmKind& kind, std::unique_ptr<LtGemm>* made) {
  std::unique_ptr<LtGemm> gemm(new LtGemm(library, handle, kind));
  if (Error error = ErrorOf("describing a product to cuBLASLt", gemm->Describe())) return error;
  *made = std::move(gemm);
  return std::nullopt;
}

LtGemm::~LtGemm() {
  for (const cublaslt::Layout layout : {w_, x_, out_}) {
    if (layout != nullptr) call_.layout_destroy(layout);
  }
  if (product_ != nullptr) call_.product_destroy(product_);
}

Status LtGemm::Describe() {
  using cublaslt::DataType;
  const auto n = uint64_t(kind_.num_outputs), k = uint64_t(kind_.num_inputs);
  const auto transpose_a = cublaslt::Transpose::kYes, transpose_b = cublaslt::Transpose::kNo;
  const auto epilogue = kind_.has_bias ? cublaslt::Epilogue::kBias : cublaslt::Epilogue::kDefault;
  if (const Status status =
          call_.product_create(&product_, cublaslt::ComputeType::kF32, DataType::kF32);
      status != Status::kSuccess) {
    return status;
  }
  return FirstOf({call_.product_set(product_, cublaslt::ProductAttribute::kTransposeA, &transpose_a,
                                    sizeof transpose_a),
                  call_.product_set(product_, cublaslt::ProductAttribute::kTransposeB, &transpose_b,
                                    sizeof transpose_b),
                  call_.product_set(product_, cublaslt::ProductAttribute::kEpilogue, &epilogue,
                                    sizeof epilogue),
                  call_.layout_create(&w_, DataType::kBF16, k, n, int64_t(k)),
                  call_.layout_create(&x_, DataType::kBF16, k, 1, int64_t(k)),
                  call_.layout_create(&out_, DataType::kF32, n, 1, int64_t(n))});
}

Status LtGemm::Set(const GemmArgs& args) {
  Status status = Status::kSuccess;
  if (kind_.has_bias) {
    status = call_.product_set(product_, cublaslt::ProductAttribute::kBiasPointer, &args.bias,
                               sizeof args.bias);
  }
  if (status != Status::kSuccess || args.num_tokens == num_tokens_) return status;
  const auto cols = uint64_t(args.num_tokens);
  status = FirstOf({call_.layout_set(x_, cublaslt::LayoutAttribute::kCols, &cols, sizeof cols),
                    call_.layout_set(out_, cublaslt::LayoutAttribute::kCols, &cols, sizeof cols)});
  num_tokens_ = status == Status::kSuccess ? args.num_tokens : 0;
  return status;
}

Error LtGemm::Propose(const GemmArgs& args, size_t workspace_bytes_max, int candidates_max,
                      std::vector<LtCandidate>* candidates) {
  using cublaslt::PreferenceAttribute;
  candidates->clear();
  cublaslt::Preference wish = nullptr;
  if (Error error = ErrorOf("cublasLtMatmulPreferenceCreate", call_.preference_create(&wish))) {
    return error;
  }
  std::vector<cublaslt::HeuristicResult> found(static_cast<size_t>(candidates_max));
  int count = 0;
  Status status =
      FirstOf({Set(args), call_.preference_set(wish, PreferenceAttribute::kWorkspaceBytesMax,
                                               &workspace_bytes_max, sizeof workspace_bytes_max)});
  for (const auto attribute :
       {PreferenceAttribute::kAlignmentMinA, PreferenceAttribute::kAlignmentMinB,
        PreferenceAttribute::kAlignmentMinC, PreferenceAttribute::kAlignmentMinD}) {
    if (status != Status::kSuccess) break;
    status = call_.preference_set(wish, attribute, &kAlignment, sizeof kAlignment);
  }
  if (status == Status::kSuccess) {
    status = call_.heuristic(handle_, product_, w_, x_, out_, out_, wish, candidates_max,
                             found.data(), &count);
  }
  call_.preference_destroy(wish);
  if (status == Status::kNotSupported) return std::nullopt;
  if (Error error = ErrorOf("cublasLtMatmulAlgoGetHeuristic", status)) return error;
  for (int i = 0; i < count; ++i) {
    const cublaslt::HeuristicResult& result = found[size_t(i)];
    if (result.state != Status::kSuccess || result.workspace_bytes > workspace_bytes_max) continue;
    candidates->push_back({result.algorithm, result.workspace_bytes});
  }
  return std::nullopt;
}

bool LtGemm::Accepts(const GemmArgs& args, const LtCandidate& candidate) {
  cublaslt::HeuristicResult result;
  const Status status = FirstOf({Set(args), call_.check(handle_, product_, w_, x_, out_, out_,
                                                        &candidate.algorithm, &result)});
  return status == Status::kSuccess && result.workspace_bytes <= candidate.workspace_bytes;
}

Status LtGemm::Enqueue(const GemmArgs& args, const LtCandidate& candidate, void* workspace,
                       Stream stream) {
  const float alpha = 1, beta = args.is_added ? 1.0f : 0.0f;
  if (const Status status = Set(args); status != Status::kSuccess) return status;
  return call_.multiply(handle_, product_, &alpha, args.w, w_, args.x, x_, &beta, args.out, out_,
                        args.out, out_, &candidate.algorithm, workspace, candidate.workspace_bytes,
                        stream.handle);
}

Error Check(const LtGemmArgs& args) { return Check(args.gemm); }

GemmPlan Choose(const LtGemmArgs& args, const DeviceTraits& device) {
  return Choose(args.gemm, device);
}

Error Launch(const LtGemmArgs& args, const GemmPlan& own, Stream stream) {
  LtChoice& choice = *args.choice;
  if (!choice.is_refused) {
    const Status status =
        choice.gemm->Enqueue(args.gemm, choice.candidate, choice.workspace, stream);
    if (status == Status::kSuccess) return std::nullopt;
    if (!IsRefusal(status)) return ErrorOf("cublasLtMatmul", status);
    choice.is_refused = true;
  }
  return Launch(args.gemm, own, stream);
}

}  // namespace baton::kernels::cuda
