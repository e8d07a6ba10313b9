#include "common/model/checkpoint.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "common/model/digest.h"
#include "common/model/json_fields.h"

namespace baton::model {
namespace {

namespace fs = std::filesystem;

constexpr size_t kIndexBytesMax = 64 << 20;
constexpr size_t kSampleBytes = 4 << 10;
constexpr size_t kSampleStride = 1 << 20;
constexpr size_t kHashedWholeBytesMax = 16 << 20;
constexpr uint64_t kReadAheadBytes = 64 << 20;

std::optional<kernels::DType> WeightDType(std::string_view dtype) {
  if (dtype == "F32") return kernels::DType::kF32;
  if (dtype == "F16") return kernels::DType::kF16;
  if (dtype == "BF16") return kernels::DType::kBF16;
  return std::nullopt;
}

bool IsPlainFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

// tensor -> shard file, as the index has it.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const fs::path& index_path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(index_path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  ASSIGN_OR_RETURN(const nlohmann::json json,
                   ParseJsonObject(text, index_path.string(), kIndexBytesMax));
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) {
    return InvalidArgument("{}: `weight_map` is not an object with tensors", index_path.string());
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>())) {
      return InvalidArgument("{}: `weight_map.{}` is not the name of a file in the folder",
                             index_path.string(), tensor);
    }
    shard_of.emplace(tensor, shard.get<std::string>());
  }
  return shard_of;
}

void HashData(std::span<const std::byte> bytes, uint64_t data_begin, Digest& digest) {
  if (bytes.size() <= kHashedWholeBytesMax) return digest.Add(bytes);
  digest.Add(bytes.first(data_begin));
  for (size_t at = data_begin; at < bytes.size(); at += kSampleStride) {
    digest.Add(bytes.subspan(at, std::min(kSampleBytes, bytes.size() - at)));
  }
  digest.Add(bytes.last(kSampleBytes));
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const fs::path& model_dir) {
  const fs::path single = model_dir / "model.safetensors";
  const fs::path index = model_dir / "model.safetensors.index.json";
  Checkpoint checkpoint;
  std::error_code error;
  if (fs::exists(single, error)) {
    RETURN_IF_ERROR(checkpoint.AddShard(single));
  } else if (fs::exists(index, error)) {
    RETURN_IF_ERROR(checkpoint.AddIndexed(index));
  } else {
    return NotFound(
        "{}: neither model.safetensors nor model.safetensors.index.json; weights are "
        "read from safetensors only",
        model_dir.string());
  }
  return checkpoint;
}

absl::Status Checkpoint::AddShard(const fs::path& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(file.bytes());
  if (!header.ok()) return Annotate(header.status(), path.string());
  for (const auto& [name, entry] : header->tensors) {
    const auto [it, fresh] = shard_of_.emplace(name, shards_.size());
    if (!fresh) {
      return InvalidArgument("tensor {} is in both {} and {}", name,
                             shards_[it->second].file.path(), path.string());
    }
  }
  shards_.push_back({std::move(file), *std::move(header)});
  return absl::OkStatus();
}

absl::Status Checkpoint::AddIndexed(const fs::path& index_path) {
  using WeightMap = std::map<std::string, std::string>;
  ASSIGN_OR_RETURN(const WeightMap weight_map, ReadWeightMap(index_path));
  std::set<std::string> files, missing;
  std::error_code error;
  for (const auto& [tensor, file] : weight_map) {
    files.insert(file);
    if (!fs::exists(index_path.parent_path() / file, error)) missing.insert(file);
  }
  if (!missing.empty()) {
    return NotFound("{}: {} of {} shards are missing from the folder: {}", index_path.string(),
                    missing.size(), files.size(), fmt::join(missing, ", "));
  }
  for (const std::string& file : files) {
    RETURN_IF_ERROR(AddShard(index_path.parent_path() / file));
  }
  for (const auto& [tensor, file] : weight_map) RETURN_IF_ERROR(CheckIndexed(tensor, file));
  return absl::OkStatus();
}

absl::Status Checkpoint::CheckIndexed(std::string_view name, const std::string& file) const {
  const auto it = shard_of_.find(name);
  const bool there =
      it != shard_of_.end() && fs::path(shards_[it->second].file.path()).filename() == file;
  if (there) return absl::OkStatus();
  return NotFound("tensor {} is not in {}, where model.safetensors.index.json places it", name,
                  file);
}

absl::StatusOr<kernels::HostMatrix> Checkpoint::Get(std::string_view name, int64_t rows,
                                                    int64_t cols, bool vector) {
  const auto it = shard_of_.find(name);
  if (it == shard_of_.end()) {
    const std::string first = shards_.front().file.path();
    return NotFound("tensor {} is missing from {}", name,
                    shards_.size() == 1 ? first : fs::path(first).parent_path().string());
  }
  Shard& shard = shards_[it->second];
  const SafetensorsEntry& entry = shard.header.tensors.find(name)->second;
  const std::vector<int64_t> expected =
      vector ? std::vector<int64_t>{cols} : std::vector<int64_t>{rows, cols};
  if (entry.shape != expected) {
    return InvalidArgument("tensor {} in {} has shape {}, expected {} by config.json", name,
                           shard.file.path(), ShapeText(entry.shape), ShapeText(expected));
  }
  const std::optional<kernels::DType> dtype = WeightDType(entry.dtype);
  if (!dtype) {
    return Unimplemented("tensor {} in {} has dtype {}; supported: F32, F16, BF16", name,
                         shard.file.path(), entry.dtype);
  }
  read_.emplace(name);
  shard.ReadAhead(entry.begin, entry.end);
  return kernels::HostMatrix{shard.file.bytes().data() + entry.begin, *dtype, rows, cols};
}

int64_t Checkpoint::Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

absl::StatusOr<Checkpoint::Tensor> Checkpoint::GetAsItIs(std::string_view name) {
  const auto it = shard_of_.find(name);
  if (it == shard_of_.end()) {
    return NotFound("tensor {} is missing from {}", name,
                    fs::path(shards_.front().file.path()).parent_path().string());
  }
  const Shard& shard = shards_[it->second];
  const SafetensorsEntry& entry = shard.header.tensors.find(name)->second;
  read_.emplace(name);
  shard.file.WillNeed(entry.begin, entry.end - entry.begin);
  return Tensor{shard.file.bytes().data() + entry.begin, entry.dtype, entry.shape};
}

void Checkpoint::Release(std::string_view name) {
  const auto it = shard_of_.find(name);
  if (it == shard_of_.end()) return;
  const Shard& shard = shards_[it->second];
  const SafetensorsEntry& entry = shard.header.tensors.find(name)->second;
  shard.file.Release(entry.begin, entry.end - entry.begin);
}

// A disk is not to rest between two tensors. Most are read in the order of the file.
void Checkpoint::Shard::ReadAhead(uint64_t begin, uint64_t end) {
  const bool goes_on = begin >= ahead_begin && begin <= ahead_end;
  const uint64_t from = goes_on ? ahead_end : begin;
  const uint64_t to = std::min<uint64_t>(end + kReadAheadBytes, file.bytes().size());
  // In large steps: asking costs a look at each page.
  if (goes_on && end + kReadAheadBytes / 2 <= ahead_end) return;
  if (to <= from) return;
  file.WillNeed(from, to - from);
  ahead_begin = begin;
  ahead_end = to;
}

kernels::DType Checkpoint::dtype() const {
  // The type of most bytes: a folder with bf16 matrices and f32 norms is a bf16 folder. Of whole
  // numbers, which quantized folders have, nothing is said here.
  std::map<std::string, uint64_t> bytes_of;
  for (const Shard& shard : shards_) {
    for (const auto& [name, entry] : shard.header.tensors) {
      if (WeightDType(entry.dtype)) bytes_of[entry.dtype] += entry.end - entry.begin;
    }
  }
  const auto most =
      std::max_element(bytes_of.begin(), bytes_of.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes_of.end()) return kernels::DType::kF32;
  return WeightDType(most->first).value_or(kernels::DType::kF32);
}

std::vector<std::string> Checkpoint::Unread() const {
  std::vector<std::string> names;
  for (const auto& [name, shard] : shard_of_) {
    if (!read_.contains(name)) names.push_back(name);
  }
  return names;
}

std::string Checkpoint::ContentHash() const {
  Digest digest;
  for (const Shard& shard : shards_) {
    digest.Add(fmt::format("{};", shard.file.bytes().size()));
    HashData(shard.file.bytes(), shard.header.data_begin, digest);
  }
  return digest.Hex();
}

}  // namespace baton::model
