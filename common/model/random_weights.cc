#include "common/model/random_weights.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/check.h"

// Speed decides how a 0.5B model starts: one 64-bit mix gives eight weights, each a byte that picks
// one of 256 quantiles of the normal distribution.
namespace baton::model {
namespace {

uint64_t Mix(uint64_t x) {  // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t KeyOf(uint64_t seed, std::string_view name) {
  uint64_t key = Mix(seed + 0x9e3779b97f4a7c15u);
  for (const char c : name) key = Mix(key ^ uint8_t(c));
  return key;
}

// z with P(Z < z) = p, by bisection: 256 calls per process.
double NormalQuantile(double p) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

const std::array<float, 256>& Quantiles() {
  static const std::array<float, 256> quantiles = [] {
    std::array<float, 256> q;
    for (int i = 0; i < 256; ++i) q[i] = float(NormalQuantile((i + 0.5) / 256));
    return q;
  }();
  return quantiles;
}

uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The 256 values a tensor draws from, as the elements of its dtype.
template <typename Element>
std::array<Element, 256> Palette(float mean, float deviation) {
  std::array<Element, 256> palette;
  for (int i = 0; i < 256; ++i) {
    const uint16_t bf16 = ToBf16(mean + deviation * Quantiles()[i]);
    if constexpr (sizeof(Element) == 2) {
      palette[i] = bf16;
    } else {
      palette[i] = std::bit_cast<float>(uint32_t{bf16} << 16);
    }
  }
  return palette;
}

template <typename Element>
void Fill(uint64_t key, const std::array<Element, 256>& palette, size_t count, std::byte* out) {
  Element eight[8];
  for (size_t begin = 0; begin < count; begin += 8) {
    const uint64_t bits = Mix(key + begin * 0x9e3779b97f4a7c15u);
    for (int i = 0; i < 8; ++i) eight[i] = palette[(bits >> (8 * i)) & 0xff];
    std::memcpy(out + begin * sizeof(Element), eight,
                std::min<size_t>(8, count - begin) * sizeof(Element));
  }
}

struct Distribution {
  float mean = 0;
  float deviation = 0;
};

Distribution DistributionOf(std::string_view name, int64_t cols) {
  if (name.ends_with("norm.weight")) return {1, 0.1f};
  if (name.ends_with(".bias")) return {0, 0.1f};
  const bool embedding = name.starts_with("lm_head") || name.find("embed_tokens") != name.npos;
  return {0, (embedding ? 2.0f : 1.0f) / std::sqrt(float(cols))};  // logits deviate by about two
}

}  // namespace

absl::StatusOr<kernels::HostMatrix> RandomWeights::Get(std::string_view name, int64_t rows,
                                                       int64_t cols, bool vector) {
  const size_t count = size_t(rows) * size_t(cols);
  Scratch scratch = TakeScratch(count * BytesOf(dtype_));
  const Distribution d = DistributionOf(name, cols);
  const uint64_t key = KeyOf(seed_, name);
  if (dtype_ == kernels::DType::kBF16) {
    Fill(key, Palette<uint16_t>(d.mean, d.deviation), count, scratch.data.get());
  } else {
    Fill(key, Palette<float>(d.mean, d.deviation), count, scratch.data.get());
  }
  const kernels::HostMatrix matrix{scratch.data.get(), dtype_, rows, cols};
  held_[std::string(name)] = std::move(scratch);
  return matrix;
}

RandomWeights::Scratch RandomWeights::TakeScratch(size_t bytes) {
  for (Scratch& spare : spare_) {
    if (spare.bytes < bytes) continue;
    std::swap(spare, spare_.back());
    Scratch taken = std::move(spare_.back());
    spare_.pop_back();
    return taken;
  }
  return {std::make_unique_for_overwrite<std::byte[]>(bytes), bytes};
}

void RandomWeights::Release(std::string_view name) {
  const auto it = held_.find(name);
  if (it == held_.end()) return;
  spare_.push_back(std::move(it->second));
  held_.erase(it);
}

std::string RandomWeights::ContentHash() const { return fmt::format("random:{}", seed_); }

}  // namespace baton::model
