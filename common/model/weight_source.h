#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "kernels/backend.h"

namespace baton::model {

// Where weights come from, one named tensor at a time: a checkpoint on disk or a generator. Used by
// one thread while a model loads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // The tensor `name` as rows by cols; `vector` says that it is one-dimensional, [cols]. Valid
  // until Release(name) or the source's end. An error names file, tensor and both shapes.
  virtual absl::StatusOr<kernels::HostMatrix> Get(std::string_view name, int64_t rows, int64_t cols,
                                                  bool vector) = 0;
  // The tensor has been packed; its memory may go.
  virtual void Release(std::string_view name) = 0;
  // The precision most of the weights are stored in: what `--dtype auto` follows.
  virtual kernels::DType dtype() const = 0;
  // Tensors that the source has and nobody asked for, sorted: a bias that config.json does not
  // mention would otherwise be left out in silence.
  virtual std::vector<std::string> Unread() const { return {}; }
  // Hash over the content, hexadecimal; see each source for what it covers.
  virtual std::string ContentHash() const = 0;
};

}  // namespace baton::model
