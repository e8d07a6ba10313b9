#include "kernels/cuda/testing/cublaslt_stand_in.h"

#include <cstring>

#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/memory.cuh"

// Matrices are read as the manual says, by columns, whatever they were by rows to who passed them:
// element (r, c) is at r + c * leading.
namespace baton::kernels::cuda::cublaslt {

struct HandleRecord {};
struct LayoutRecord {
  DataType type;
  uint64_t rows, cols;
  int64_t leading;
};
struct ProductRecord {
  ComputeType compute;
  DataType scale;
  Transpose a = Transpose::kNo, b = Transpose::kNo;
  Epilogue epilogue = Epilogue::kDefault;
  const void* bias = nullptr;
};
struct PreferenceRecord {
  size_t workspace_bytes_max = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

namespace {

using testing::CublasLtStandIn;
using testing::TheCublasLt;

constexpr uint64_t kMark = 0x6261746f6e;  // in algorithms that the stand-in has made

Status Refuse(const char* why) {
  if (TheCublasLt().complaints++ == 0) TheCublasLt().complaint = why;
  return Status::kInvalidValue;
}

template <typename Record, typename... Fields>
Status Create(Record** record, Fields... fields) {
  if (TheCublasLt().on_describe != Status::kSuccess) return TheCublasLt().on_describe;
  *record = new Record{fields...};
  ++TheCublasLt().records;
  return Status::kSuccess;
}
template <typename Record>
Status Destroy(Record* record) {
  delete record;
  --TheCublasLt().records;
  return Status::kSuccess;
}

// The value of an attribute, which has its own size and no other.
template <typename Value>
Status Put(Value* to, const void* from, size_t bytes) {
  if (bytes != sizeof *to) return Refuse("an attribute of another size");
  std::memcpy(to, from, bytes);
  return Status::kSuccess;
}

Status SetLayout(Layout layout, LayoutAttribute attribute, const void* value, size_t bytes) {
  if (attribute == LayoutAttribute::kCols) return Put(&layout->cols, value, bytes);
  return Refuse("an unknown attribute of a layout");
}
Status SetProduct(Product product, ProductAttribute attribute, const void* value, size_t bytes) {
  switch (attribute) {
    case ProductAttribute::kTransposeA:
      return Put(&product->a, value, bytes);
    case ProductAttribute::kTransposeB:
      return Put(&product->b, value, bytes);
    case ProductAttribute::kEpilogue:
      return Put(&product->epilogue, value, bytes);
    case ProductAttribute::kBiasPointer:
      return Put(&product->bias, value, bytes);
  }
  return Refuse("an unknown attribute of a product");
}
Status SetPreference(Preference wish, PreferenceAttribute attribute, const void* value,
                     size_t bytes) {
  if (attribute == PreferenceAttribute::kWorkspaceBytesMax) {
    return Put(&wish->workspace_bytes_max, value, bytes);
  }
  const int which = int(attribute) - int(PreferenceAttribute::kAlignmentMinA);
  if (which < 0 || which > 3) return Refuse("an unknown preference");
  return Put(&wish->alignment[which], value, bytes);
}

// The sizes of d = op(a) op(b), or that these do not fit each other.
struct Sizes {
  uint64_t rows = 0, cols = 0, inner = 0;
  bool fit = false;
};
Sizes SizesOf(Product product, Layout a, Layout b, Layout c, Layout d) {
  const bool turned_a = product->a == Transpose::kYes, turned_b = product->b == Transpose::kYes;
  Sizes sizes = {.rows = turned_a ? a->cols : a->rows,
                 .cols = turned_b ? b->rows : b->cols,
                 .inner = turned_a ? a->rows : a->cols};
  sizes.fit = sizes.inner == (turned_b ? b->cols : b->rows) && d->rows == sizes.rows &&
              d->cols == sizes.cols && c->rows == d->rows && c->cols == d->cols;
  for (const Layout layout : {a, b, c, d}) {
    sizes.fit = sizes.fit && layout->leading >= int64_t(layout->rows) && layout->cols > 0;
  }
  return sizes;
}

Status CheckTypes(Product product, Layout a, Layout b, Layout c, Layout d) {
  const bool is_known = product->compute == ComputeType::kF32 && product->scale == DataType::kF32 &&
                        a->type == DataType::kBF16 && b->type == DataType::kBF16 &&
                        c->type == DataType::kF32 && d->type == DataType::kF32;
  return is_known ? Status::kSuccess : Status::kNotSupported;
}

// data: the mark, which proposal, rows of d, inner, epilogue.
Algorithm Configured(size_t proposal, const Sizes& sizes, Epilogue epilogue) {
  return {{kMark, proposal, sizes.rows, sizes.inner, uint64_t(epilogue)}};
}

Status Check(Handle, Product product, Layout a, Layout b, Layout c, Layout d,
             const Algorithm* algorithm, HeuristicResult* result) {
  if (TheCublasLt().on_check != Status::kSuccess) return TheCublasLt().on_check;
  const Sizes sizes = SizesOf(product, a, b, c, d);
  if (!sizes.fit) return Refuse("matrices that do not fit each other");
  const size_t proposal = algorithm->data[1];
  if (algorithm->data[0] != kMark || proposal >= TheCublasLt().proposals.size() ||
      *algorithm != Configured(proposal, sizes, product->epilogue)) {
    return Status::kInvalidValue;
  }
  const CublasLtStandIn::Proposal& proposed = TheCublasLt().proposals[proposal];
  if (sizes.cols > proposed.tokens_max) return Status::kNotSupported;
  result->workspace_bytes = proposed.workspace_bytes;
  result->state = Status::kSuccess;
  return Status::kSuccess;
}

Status Heuristic(Handle handle, Product product, Layout a, Layout b, Layout c, Layout d,
                 Preference wish, int wanted, HeuristicResult* results, int* found) {
  ++TheCublasLt().heuristics;
  *found = 0;
  if (TheCublasLt().on_heuristic != Status::kSuccess) return TheCublasLt().on_heuristic;
  if (const Status status = CheckTypes(product, a, b, c, d); status != Status::kSuccess) {
    return status;
  }
  const Sizes sizes = SizesOf(product, a, b, c, d);
  if (!sizes.fit) return Refuse("matrices that do not fit each other");
  for (const uint32_t alignment : wish->alignment) {
    if (alignment > 16) return Refuse("pointers are not aligned so well");
  }
  for (size_t i = 0; i < TheCublasLt().proposals.size() && *found < wanted; ++i) {
    HeuristicResult result = {.algorithm = Configured(i, sizes, product->epilogue)};
    if (Check(handle, product, a, b, c, d, &result.algorithm, &result) != Status::kSuccess)
      continue;
    if (result.workspace_bytes <= wish->workspace_bytes_max) results[(*found)++] = result;
  }
  return *found > 0 ? Status::kSuccess : Status::kNotSupported;
}

// A product with all it was ordered with: nothing of the caller's is read when it runs.
struct Ordered {
  ProductRecord product;
  LayoutRecord a_is, b_is, c_is, d_is;
  Sizes sizes;
  CublasLtStandIn::Proposal proposal;
  const Bf16 *a, *b;
  const float* c;
  float *d, *workspace;
  float alpha, beta;

  float Dot(uint64_t row, uint64_t col) const {
    const Global<const Bf16> all_a(a), all_b(b);
    float sum = 0;
    for (uint64_t i = 0; i < sizes.inner; ++i) {
      const uint64_t at_a = product.a == Transpose::kYes ? i + row * uint64_t(a_is.leading)
                                                         : row + i * uint64_t(a_is.leading);
      const uint64_t at_b = product.b == Transpose::kYes ? col + i * uint64_t(b_is.leading)
                                                         : i + col * uint64_t(b_is.leading);
      sum += ToFloat(Bf16(all_a[at_a])) * ToFloat(Bf16(all_b[at_b]));
    }
    return sum;
  }

  void Run() const {
    if (emulation::Here().thread != 0) return;
    emulation::PassSeconds(proposal.seconds - emulation::kLaunchSeconds);
    const Global<float> scratch(workspace), result(d);
    for (size_t i = 0; i < proposal.workspace_bytes / sizeof(float); ++i) scratch[i] = 0;
    for (uint64_t col = 0; col < sizes.cols; ++col) {
      for (uint64_t row = 0; row < sizes.rows; ++row) {
        float value = alpha * Dot(row, col);
        if (beta != 0) {
          value += beta * float(Global<const float>(c)[row + col * uint64_t(c_is.leading)]);
        }
        if (product.epilogue == Epilogue::kBias) {
          value += float(Global<const float>(static_cast<const float*>(product.bias))[row]);
        }
        if (proposal.is_wrong) value = -value;
        result[row + col * uint64_t(d_is.leading)] = value;
      }
    }
  }
};

bool IsAligned(const void* pointer, size_t unit) {
  return reinterpret_cast<uintptr_t>(pointer) % unit == 0;
}

Status Multiply(Handle handle, Product product, const void* alpha, const void* a, Layout a_is,
                const void* b, Layout b_is, const void* beta, const void* c, Layout c_is, void* d,
                Layout d_is, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                void*) {
  if (TheCublasLt().on_multiply != Status::kSuccess) return TheCublasLt().on_multiply;
  HeuristicResult result;
  if (const Status status = Check(handle, product, a_is, b_is, c_is, d_is, algorithm, &result);
      status != Status::kSuccess) {
    return status;
  }
  if (workspace_bytes < result.workspace_bytes || !IsAligned(workspace, 256)) {
    return Refuse("a workspace that is too small, or not aligned");
  }
  for (const void* pointer : {a, b, c, static_cast<const void*>(d)}) {
    if (!IsAligned(pointer, 16)) return Refuse("a matrix that is not aligned");
  }
  const Ordered ordered = {.product = *product,
                           .a_is = *a_is,
                           .b_is = *b_is,
                           .c_is = *c_is,
                           .d_is = *d_is,
                           .sizes = SizesOf(product, a_is, b_is, c_is, d_is),
                           .proposal = TheCublasLt().proposals[algorithm->data[1]],
                           .a = static_cast<const Bf16*>(a),
                           .b = static_cast<const Bf16*>(b),
                           .c = static_cast<const float*>(c),
                           .d = static_cast<float*>(d),
                           .workspace = static_cast<float*>(workspace),
                           .alpha = *static_cast<const float*>(alpha),
                           .beta = *static_cast<const float*>(beta)};
  ++TheCublasLt().products;
  emulation::RunGrid("cublaslt_stand_in", {.threads = 32}, [ordered] { ordered.Run(); });
  return Status::kSuccess;
}

Status CreateHandle(Handle* handle) {
  if (TheCublasLt().on_create != Status::kSuccess) return TheCublasLt().on_create;
  return Create(handle);
}
Status CreateLayout(Layout* layout, DataType type, uint64_t rows, uint64_t cols, int64_t leading) {
  return Create(layout, type, rows, cols, leading);
}
Status CreateProduct(Product* product, ComputeType compute, DataType scale) {
  return Create(product, compute, scale);
}
Status CreatePreference(Preference* wish) { return Create(wish); }

Library TheLibrary() {
  return {.call = {.create = CreateHandle,
                   .destroy = Destroy<HandleRecord>,
                   .get_version = [] { return size_t{0}; },
                   .layout_create = CreateLayout,
                   .layout_destroy = Destroy<LayoutRecord>,
                   .layout_set = SetLayout,
                   .product_create = CreateProduct,
                   .product_destroy = Destroy<ProductRecord>,
                   .product_set = SetProduct,
                   .preference_create = CreatePreference,
                   .preference_destroy = Destroy<PreferenceRecord>,
                   .preference_set = SetPreference,
                   .heuristic = Heuristic,
                   .check = Check,
                   .multiply = Multiply},
          .version = TheCublasLt().version};
}

}  // namespace

const Library* Library::Load(std::string* error) {
  static Library library;
  library = TheLibrary();
  *error = TheCublasLt().why_missing;
  return error->empty() ? &library : nullptr;
}

}  // namespace baton::kernels::cuda::cublaslt

namespace baton::kernels::cuda::testing {

CublasLtStandIn& TheCublasLt() {
  static CublasLtStandIn stand_in;
  return stand_in;
}

}  // namespace baton::kernels::cuda::testing
