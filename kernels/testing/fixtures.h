#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/activation_row.h"
#include "kernels/backend.h"
#include "kernels/convert.h"

// What the tests of this room share: random data, the backends of this machine, comparisons.
namespace baton::kernels::testing {

// The instruction sets this machine can run.
inline std::vector<std::string> AvailableIsas() {
  std::vector<std::string> isas;
  for (const char* isa : {"avx512_bf16", "avx512", "avx2"}) {
    if (MakeCpuBackend({.num_threads = 1, .isa = isa}) != nullptr) isas.emplace_back(isa);
  }
  return isas;
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int Int(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  float Float(float scale = 1) { return std::normal_distribution<float>(0, scale)(engine_); }
  std::vector<float> Floats(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float& v : values) v = Float(scale);
    return values;
  }
  template <typename T>
  void Shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), engine_);
  }

 private:
  std::mt19937_64 engine_;
};

// Values as elements of `dtype`, with `skew` bytes in front so that they lie unaligned.
inline std::vector<std::byte> Encode(const std::vector<float>& values, DType dtype,
                                     size_t skew = 0) {
  std::vector<std::byte> bytes(skew + values.size() * BytesOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t element = 0;
    StoreElement(&element, dtype, 0, values[i]);
    std::memcpy(bytes.data() + skew + i * BytesOf(dtype), &element, BytesOf(dtype));
  }
  return bytes;
}

// Values as rows of activations, `width` of them a row.
inline std::vector<std::byte> EncodeRows(const std::vector<float>& values, DType dtype,
                                         int64_t width) {
  if (dtype != DType::kInt8) return Encode(values, dtype);
  const size_t row_bytes = ActivationRowBytes(dtype, width);
  std::vector<std::byte> rows(values.size() / size_t(width) * row_bytes);
  for (size_t t = 0; t * row_bytes < rows.size(); ++t) {
    StoreInt8Row(values.data() + t * size_t(width), int32_t(width), rows.data() + t * row_bytes);
  }
  return rows;
}

inline std::vector<float> Decode(const void* data, DType dtype, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = LoadElement(static_cast<const std::byte*>(data), dtype, int64_t(i));
  }
  return values;
}

inline std::vector<float> RoundedTo(std::vector<float> values, DType dtype) {
  if (dtype == DType::kBF16) {
    for (float& v : values) v = F32FromBf16(Bf16FromF32(v));
  }
  return values;
}

inline HostMatrix MatrixOf(const std::vector<std::byte>& bytes, DType dtype, int64_t rows,
                           int64_t cols, size_t skew = 0) {
  return {.data = bytes.data() + skew, .dtype = dtype, .rows = rows, .cols = cols};
}

// The root of the mean squared difference over that of the values.
inline double RelativeError(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0, norm = 1e-30;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += double(got[i] - want[i]) * double(got[i] - want[i]);
    norm += double(want[i]) * want[i];
  }
  return std::sqrt(difference / norm);
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace baton::kernels::testing
