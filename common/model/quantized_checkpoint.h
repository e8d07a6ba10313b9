#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/model/checkpoint.h"
#include "common/model/hf_quantization.h"

namespace baton::model {

// A checkpoint whose layers' matrices somebody has quantized: "….q_proj.weight" is put together
// from the tensors that stand for it, as whole numbers with their scales and zeros, which backends
// keep as they are. Everything else is the checkpoint's.
class QuantizedCheckpoint : public WeightSource {
 public:
  QuantizedCheckpoint(Checkpoint checkpoint, const HfQuantization& quantization);

  absl::StatusOr<kernels::HostMatrix> Get(std::string_view name, int64_t rows, int64_t cols,
                                          bool vector) override;
  void Release(std::string_view name) override;
  kernels::DType dtype() const override { return checkpoint_.dtype(); }
  // Biases of nothing but zeros, which GPTQ's writers add everywhere, are no part of a model.
  std::vector<std::string> Unread() const override;
  std::string ContentHash() const override { return checkpoint_.ContentHash(); }

 private:
  // One matrix, unpacked.
  struct Unpacked {
    std::vector<int8_t> elements;  // [rows][cols]; of 4 bits -8 to 7
    std::vector<float> scales;     // [rows][groups]
    std::vector<int8_t> zeros;     // [rows][groups], or empty
  };
  // What a matrix is to be: a name without ".weight", and its shape.
  struct Wanted {
    std::string base;
    int64_t rows = 0;
    int64_t cols = 0;
    int64_t groups = 0;
    int64_t group = 0;
  };

  absl::Status UnpackBytes(const Wanted& wanted, Unpacked& out);
  absl::Status UnpackInt32(const Wanted& wanted, Unpacked& out);
  absl::Status UnpackGptq(const Wanted& wanted, Unpacked& out);
  absl::Status UnpackAwq(const Wanted& wanted, Unpacked& out);
  absl::Status CheckOrder(const Wanted& wanted);
  absl::StatusOr<Checkpoint::Tensor> Tensor(const std::string& name, std::string_view dtype,
                                            const std::vector<int64_t>& shape);
  // [rows][cols] in any of the float types, to f32.
  absl::StatusOr<std::vector<float>> Floats(const std::string& name, int64_t rows, int64_t cols);

  mutable Checkpoint checkpoint_;
  const HfQuantization quantization_;
  std::map<std::string, Unpacked, std::less<>> held_;
};

}  // namespace baton::model
