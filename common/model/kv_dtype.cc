#include "common/model/kv_dtype.h"

namespace baton::model {

std::optional<kernels::DType> KvDTypeOf(config::KvDtype dtype) {
  switch (dtype) {
    case config::KvDtype::kAuto:
      break;
    case config::KvDtype::kF32:
      return kernels::DType::kF32;
    case config::KvDtype::kBf16:
      return kernels::DType::kBF16;
    case config::KvDtype::kFp8:
      return kernels::DType::kFp8;
    case config::KvDtype::kInt8:
      return kernels::DType::kInt8;
  }
  return std::nullopt;
}

}  // namespace baton::model
