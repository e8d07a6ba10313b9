#include "common/model/quantize.h"

namespace baton::model {

std::optional<kernels::DType> QuantizeOf(config::Quantize quantize) {
  switch (quantize) {
    case config::Quantize::kNone:
      break;
    case config::Quantize::kInt8:
      return kernels::DType::kInt8;
    case config::Quantize::kInt4G32:
      return kernels::DType::kInt4G32;
    case config::Quantize::kInt4G64:
      return kernels::DType::kInt4G64;
    case config::Quantize::kInt4G128:
      return kernels::DType::kInt4G128;
  }
  return std::nullopt;
}

absl::StatusOr<std::optional<kernels::DType>> ParseQuantize(std::string_view text) {
  if (text == "none") return std::nullopt;
  using kernels::DType;
  for (const DType dtype : {DType::kInt8, DType::kInt4G32, DType::kInt4G64, DType::kInt4G128}) {
    if (text == NameOf(dtype)) return dtype;
  }
  return InvalidArgument("quantize is \"{}\"; expected none, int8, int4-g32, int4-g64 or int4-g128",
                         text);
}

}  // namespace baton::model
