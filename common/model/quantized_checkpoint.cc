#include "common/model/quantized_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/quantized_weight.h"

// How the formats lay a matrix of N outputs and K inputs out, in groups of `group` inputs. Packed
// elements of 4 bits are eight to an int32, the first in the lowest bits, unless said otherwise.
//
//   int-quantized   weight I8 [N][K]; weight_scale [N][groups]; weight_zero_point I8, the same
//   pack-quantized  weight_packed I32 [N][K / 8], elements + 8; weight_scale [N][groups];
//                   weight_zero_point I32 [N / 8][groups], packed along N; weight_shape I64 [2].
//                   With 8 bits four to an int32, elements + 128
//   GPTQ            qweight I32 [K / 8][N], packed along K; scales [groups][N];
//                   qzeros I32 [groups][N / 8], packed along N; g_idx I32 [K], the group of each
//   AWQ             qweight I32 [K][N / 8], qzeros I32 [groups][N / 8], both packed along N in the
//                   order 0 2 4 6 1 3 5 7; scales [groups][N]
namespace baton::model {
namespace {

using Format = HfQuantization::Format;

constexpr std::string_view kWeight = ".weight";

// Which of its eight outputs AWQ has in each place of an int32.
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

uint32_t WordAt(const Checkpoint::Tensor& tensor, int64_t index) {
  uint32_t word;
  std::memcpy(&word, tensor.data + index * 4, 4);
  return word;
}

// The matrices of layers; norms are vectors, the head and the embedding are not quantized.
bool IsOfLayers(std::string_view name) {
  return name.starts_with("model.layers.") && name.ends_with("_proj.weight");
}

}  // namespace

QuantizedCheckpoint::QuantizedCheckpoint(Checkpoint checkpoint, const HfQuantization& quantization)
    : checkpoint_(std::move(checkpoint)), quantization_(quantization) {}

absl::StatusOr<kernels::HostMatrix> QuantizedCheckpoint::Get(std::string_view name, int64_t rows,
                                                             int64_t cols, bool vector) {
  if (vector || !IsOfLayers(name)) return checkpoint_.Get(name, rows, cols, vector);
  const int64_t group = quantization_.group == 0 ? cols : quantization_.group;
  const Wanted wanted{.base = std::string(name.substr(0, name.size() - kWeight.size())),
                      .rows = rows,
                      .cols = cols,
                      .groups = CeilDiv(cols, group),
                      .group = group};
  const bool is_packed = quantization_.format != Format::kIntQuantized;
  if (is_packed && (cols % 8 != 0 || rows % 8 != 0 || cols % group != 0)) {
    return Unimplemented("tensor {} of {}x{} in groups of {}: packed weights have multiples of 8",
                         name, rows, cols, group);
  }
  Unpacked unpacked;
  unpacked.elements.resize(size_t(rows * cols));
  if (quantization_.has_zeros) unpacked.zeros.resize(size_t(rows * wanted.groups));
  switch (quantization_.format) {
    case Format::kIntQuantized:
      RETURN_IF_ERROR(UnpackBytes(wanted, unpacked));
      break;
    case Format::kPackQuantized:
      RETURN_IF_ERROR(UnpackInt32(wanted, unpacked));
      break;
    case Format::kGptq:
      RETURN_IF_ERROR(UnpackGptq(wanted, unpacked));
      break;
    case Format::kAwq:
      RETURN_IF_ERROR(UnpackAwq(wanted, unpacked));
      break;
  }
  const Unpacked& held = held_[std::string(name)] = std::move(unpacked);
  return kernels::HostMatrix{.data = reinterpret_cast<const std::byte*>(held.elements.data()),
                             .dtype = kernels::DType::kInt8,
                             .rows = rows,
                             .cols = cols,
                             .group = group,
                             .scales = held.scales.data(),
                             .zeros = held.zeros.empty() ? nullptr : held.zeros.data()};
}

void QuantizedCheckpoint::Release(std::string_view name) {
  const auto it = held_.find(name);
  if (it == held_.end()) return checkpoint_.Release(name);
  held_.erase(it);
  const std::string base(name.substr(0, name.size() - kWeight.size()));
  for (const char* leaf : {".weight", ".weight_packed", ".qweight"}) {
    checkpoint_.Release(base + leaf);
  }
}

std::vector<std::string> QuantizedCheckpoint::Unread() const {
  std::vector<std::string> names = checkpoint_.Unread();
  std::erase_if(names, [this](const std::string& name) {
    if (!name.ends_with("_proj.bias")) return false;
    const absl::StatusOr<Checkpoint::Tensor> bias = checkpoint_.GetAsItIs(name);
    if (!bias.ok()) return false;
    const int64_t bytes = bias->elements() * (bias->dtype == "F32" ? 4 : 2);
    return std::all_of(bias->data, bias->data + bytes,
                       [](std::byte b) { return b == std::byte{}; });
  });
  return names;
}

absl::StatusOr<Checkpoint::Tensor> QuantizedCheckpoint::Tensor(const std::string& name,
                                                               std::string_view dtype,
                                                               const std::vector<int64_t>& shape) {
  ASSIGN_OR_RETURN(const Checkpoint::Tensor tensor, checkpoint_.GetAsItIs(name));
  if (tensor.dtype == dtype && tensor.shape == shape) return tensor;
  return InvalidArgument("tensor {} is {} {}, expected {} {} by config.json", name, tensor.dtype,
                         ShapeText(tensor.shape), dtype, ShapeText(shape));
}

absl::StatusOr<std::vector<float>> QuantizedCheckpoint::Floats(const std::string& name,
                                                               int64_t rows, int64_t cols) {
  ASSIGN_OR_RETURN(const Checkpoint::Tensor tensor, checkpoint_.GetAsItIs(name));
  // One scale a row may be written as [rows] too.
  const bool is_vector = cols == 1 && tensor.shape == std::vector<int64_t>{rows};
  if (is_vector) {
    ASSIGN_OR_RETURN(const kernels::HostMatrix vector, checkpoint_.Get(name, 1, rows, true));
    std::vector<float> values;
    for (int64_t i = 0; i < rows; ++i) values.push_back(kernels::ElementOf(vector, 0, i));
    return values;
  }
  ASSIGN_OR_RETURN(const kernels::HostMatrix matrix, checkpoint_.Get(name, rows, cols, false));
  std::vector<float> values;
  values.reserve(size_t(rows * cols));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) values.push_back(kernels::ElementOf(matrix, i, j));
  }
  return values;
}

absl::Status QuantizedCheckpoint::UnpackBytes(const Wanted& wanted, Unpacked& out) {
  ASSIGN_OR_RETURN(const Checkpoint::Tensor elements,
                   Tensor(wanted.base + ".weight", "I8", {wanted.rows, wanted.cols}));
  std::memcpy(out.elements.data(), elements.data, out.elements.size());
  ASSIGN_OR_RETURN(out.scales, Floats(wanted.base + ".weight_scale", wanted.rows, wanted.groups));
  if (!quantization_.has_zeros) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Checkpoint::Tensor zeros,
                   Tensor(wanted.base + ".weight_zero_point", "I8", {wanted.rows, wanted.groups}));
  std::memcpy(out.zeros.data(), zeros.data, out.zeros.size());
  return absl::OkStatus();
}

absl::Status QuantizedCheckpoint::UnpackInt32(const Wanted& wanted, Unpacked& out) {
  const int bits = quantization_.bits, in_word = 32 / bits, middle = 1 << (bits - 1);
  const auto value = [&](const Checkpoint::Tensor& words, int64_t word, int64_t place) {
    const uint32_t raw = WordAt(words, word) >> (bits * place) & ((1u << bits) - 1);
    return int8_t(int(raw) - middle);
  };
  ASSIGN_OR_RETURN(const Checkpoint::Tensor shape,
                   Tensor(wanted.base + ".weight_shape", "I64", {2}));
  int64_t written[2];
  std::memcpy(written, shape.data, sizeof written);
  if (written[0] != wanted.rows || written[1] != wanted.cols) {
    return InvalidArgument("tensor {}.weight_packed is of {}x{}, expected {}x{} by config.json",
                           wanted.base, written[0], written[1], wanted.rows, wanted.cols);
  }
  const int64_t words = wanted.cols / in_word;
  ASSIGN_OR_RETURN(const Checkpoint::Tensor packed,
                   Tensor(wanted.base + ".weight_packed", "I32", {wanted.rows, words}));
  for (int64_t i = 0; i < wanted.rows * wanted.cols; ++i) {
    out.elements[size_t(i)] = value(packed, i / in_word, i % in_word);
  }
  ASSIGN_OR_RETURN(out.scales, Floats(wanted.base + ".weight_scale", wanted.rows, wanted.groups));
  if (!quantization_.has_zeros) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Checkpoint::Tensor zeros, Tensor(wanted.base + ".weight_zero_point", "I32",
                                                          {wanted.rows / in_word, wanted.groups}));
  for (int64_t n = 0; n < wanted.rows; ++n) {
    for (int64_t g = 0; g < wanted.groups; ++g) {
      out.zeros[size_t(n * wanted.groups + g)] =
          value(zeros, n / in_word * wanted.groups + g, n % in_word);
    }
  }
  return absl::OkStatus();
}

// Inputs that come in another order than config.json says would meet the wrong scales.
absl::Status QuantizedCheckpoint::CheckOrder(const Wanted& wanted) {
  const std::string name = wanted.base + ".g_idx";
  if (!checkpoint_.Contains(name)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Checkpoint::Tensor groups, Tensor(name, "I32", {wanted.cols}));
  for (int64_t k = 0; k < wanted.cols; ++k) {
    if (WordAt(groups, k) == uint32_t(k / wanted.group)) continue;
    return Unimplemented(
        "tensor {}: input {} is in group {}; inputs in another order than "
        "their own (desc_act) are not supported",
        name, k, WordAt(groups, k));
  }
  return absl::OkStatus();
}

absl::Status QuantizedCheckpoint::UnpackGptq(const Wanted& wanted, Unpacked& out) {
  const int64_t n_words = wanted.rows / 8;
  RETURN_IF_ERROR(CheckOrder(wanted));
  ASSIGN_OR_RETURN(const Checkpoint::Tensor packed,
                   Tensor(wanted.base + ".qweight", "I32", {wanted.cols / 8, wanted.rows}));
  ASSIGN_OR_RETURN(const Checkpoint::Tensor zeros,
                   Tensor(wanted.base + ".qzeros", "I32", {wanted.groups, n_words}));
  ASSIGN_OR_RETURN(const std::vector<float> scales,
                   Floats(wanted.base + ".scales", wanted.groups, wanted.rows));
  out.scales.resize(scales.size());
  const int more = quantization_.zeros_less_one ? 1 : 0;
  for (int64_t n = 0; n < wanted.rows; ++n) {
    for (int64_t k = 0; k < wanted.cols; ++k) {
      const uint32_t word = WordAt(packed, k / 8 * wanted.rows + n);
      out.elements[size_t(n * wanted.cols + k)] = int8_t(int(word >> (4 * (k % 8)) & 15) - 8);
    }
    for (int64_t g = 0; g < wanted.groups; ++g) {
      const uint32_t word = WordAt(zeros, g * n_words + n / 8);
      out.zeros[size_t(n * wanted.groups + g)] = int8_t(int(word >> (4 * (n % 8)) & 15) + more - 8);
      out.scales[size_t(n * wanted.groups + g)] = scales[size_t(g * wanted.rows + n)];
    }
  }
  return absl::OkStatus();
}

absl::Status QuantizedCheckpoint::UnpackAwq(const Wanted& wanted, Unpacked& out) {
  const int64_t n_words = wanted.rows / 8;
  ASSIGN_OR_RETURN(const Checkpoint::Tensor packed,
                   Tensor(wanted.base + ".qweight", "I32", {wanted.cols, n_words}));
  ASSIGN_OR_RETURN(const Checkpoint::Tensor zeros,
                   Tensor(wanted.base + ".qzeros", "I32", {wanted.groups, n_words}));
  ASSIGN_OR_RETURN(const std::vector<float> scales,
                   Floats(wanted.base + ".scales", wanted.groups, wanted.rows));
  out.scales.resize(scales.size());
  for (int64_t word = 0; word < n_words; ++word) {
    for (int place = 0; place < 8; ++place) {
      const int64_t n = word * 8 + kAwqOrder[place];
      const auto value = [&](const Checkpoint::Tensor& words, int64_t row) {
        return int8_t(int(WordAt(words, row * n_words + word) >> (4 * place) & 15) - 8);
      };
      for (int64_t k = 0; k < wanted.cols; ++k) {
        out.elements[size_t(n * wanted.cols + k)] = value(packed, k);
      }
      for (int64_t g = 0; g < wanted.groups; ++g) {
        out.zeros[size_t(n * wanted.groups + g)] = value(zeros, g);
        out.scales[size_t(n * wanted.groups + g)] = scales[size_t(g * wanted.rows + n)];
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace baton::model
