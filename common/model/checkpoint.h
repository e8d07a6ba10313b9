#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/model/mapped_file.h"
#include "common/model/safetensors.h"
#include "common/model/weight_source.h"

namespace baton::model {

// The weights of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json names. Files stay mapped for the checkpoint's life; pages are read
// when a tensor is and given back by Release().
class Checkpoint : public WeightSource {
 public:
  // Maps every file and checks every header; all missing shards are named in one error.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& model_dir);

  absl::StatusOr<kernels::HostMatrix> Get(std::string_view name, int64_t rows, int64_t cols,
                                          bool vector) override;
  void Release(std::string_view name) override;
  kernels::DType dtype() const override;
  std::vector<std::string> Unread() const override;
  // Covers each file's size and whole header (names, shapes, dtypes, offsets), and of its data the
  // first 4 KiB of every MiB and the last 4 KiB; files up to 16 MiB whole. Cheap for any size, and
  // different for any two trained models. It does not find a single changed byte deep inside a
  // large file.
  std::string ContentHash() const override;

  // A tensor as it lies in its file, of any type and shape. Counts as read.
  struct Tensor {
    const std::byte* data = nullptr;
    std::string dtype;  // as written
    std::vector<int64_t> shape;
    int64_t elements() const;
  };
  absl::StatusOr<Tensor> GetAsItIs(std::string_view name);

  bool Contains(std::string_view name) const { return shard_of_.contains(name); }

 private:
  struct Shard {
    MappedFile file;
    SafetensorsHeader header;
    // Of the file: what the kernel was last asked to read ahead.
    uint64_t ahead_begin = 0;
    uint64_t ahead_end = 0;

    // Asks for [begin, end) and what lies behind it, as far as that was not asked for already.
    void ReadAhead(uint64_t begin, uint64_t end);
  };

  absl::Status AddShard(const std::filesystem::path& path);
  absl::Status AddIndexed(const std::filesystem::path& index_path);
  absl::Status CheckIndexed(std::string_view name, const std::string& file) const;

  std::vector<Shard> shards_;
  std::map<std::string, size_t, std::less<>> shard_of_;  // tensor -> index into shards_
  std::set<std::string, std::less<>> read_;              // tensors that Get() handed out
};

}  // namespace baton::model
