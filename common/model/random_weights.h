#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/model/weight_source.h"

namespace baton::model {

// Weights made up from shapes and a seed, for benchmarks at real sizes without a download. A
// tensor's values depend on the seed, its name and its shape only, so every worker makes the same
// ones; they are equal in f32 and bf16. Matrices are near normal with a deviation that keeps
// activations of order one.
class RandomWeights : public WeightSource {
 public:
  // `dtype` is kF32 or kBF16: what the tensors are handed out in.
  RandomWeights(uint64_t seed, kernels::DType dtype) : seed_(seed), dtype_(dtype) {}

  absl::StatusOr<kernels::HostMatrix> Get(std::string_view name, int64_t rows, int64_t cols,
                                          bool vector) override;
  void Release(std::string_view name) override;
  kernels::DType dtype() const override { return dtype_; }
  // Covers the seed; shapes come from the config, which the fingerprint holds as well.
  std::string ContentHash() const override;

 private:
  uint64_t seed_;
  kernels::DType dtype_;
  struct Scratch {
    std::unique_ptr<std::byte[]> data;
    size_t bytes = 0;
  };
  Scratch TakeScratch(size_t bytes);

  std::map<std::string, Scratch, std::less<>> held_;
  std::vector<Scratch>
      spare_;  // of released tensors: fresh pages cost more than the values in them
};

}  // namespace baton::model
