#include "common/model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "common/model/json_fields.h"

namespace baton::model {
namespace {

constexpr uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
constexpr size_t kRankMax = 8;

// Bytes per element, or none for a type whose elements this reader does not know.
std::optional<uint64_t> ElementBytes(std::string_view dtype) {
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "BOOL" || dtype == "I8" || dtype == "U8" || dtype.starts_with("F8_")) return 1;
  return std::nullopt;
}

absl::StatusOr<uint64_t> HeaderBytes(std::span<const std::byte> file) {
  if (file.size() < 8) {
    return InvalidArgument("{} bytes: too short for a safetensors file, truncated", file.size());
  }
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | uint64_t(file[i]);
  if (header_bytes > kHeaderBytesMax) {
    return InvalidArgument("header length {} is absurd, the format's limit is {}", header_bytes,
                           kHeaderBytesMax);
  }
  if (header_bytes > file.size() - 8) {
    return InvalidArgument("header length {} exceeds the file of {} bytes, truncated", header_bytes,
                           file.size());
  }
  return header_bytes;
}

absl::StatusOr<uint64_t> Unsigned(const nlohmann::json& value, std::string_view what) {
  if (!value.is_number_unsigned()) return InvalidArgument("{} is not a whole number", what);
  return value.get<uint64_t>();
}

absl::StatusOr<std::vector<int64_t>> ParseShape(const nlohmann::json& tensor) {
  const auto it = tensor.find("shape");
  if (it == tensor.end() || !it->is_array() || it->size() > kRankMax) {
    return InvalidArgument("`shape` is not a list of at most {} sizes", kRankMax);
  }
  std::vector<int64_t> shape;
  for (const nlohmann::json& size : *it) {
    ASSIGN_OR_RETURN(const uint64_t value, Unsigned(size, "a size in `shape`"));
    if (value > uint64_t{1} << 40) return InvalidArgument("size {} in `shape` is absurd", value);
    shape.push_back(int64_t(value));
  }
  return shape;
}

// Bytes that shape and dtype ask for; an error when they overflow.
absl::Status CheckBytes(const SafetensorsEntry& entry) {
  const std::optional<uint64_t> element_bytes = ElementBytes(entry.dtype);
  if (!element_bytes) return absl::OkStatus();
  uint64_t expected = *element_bytes;
  for (const int64_t size : entry.shape) {
    if (__builtin_mul_overflow(expected, uint64_t(size), &expected)) {
      return InvalidArgument("shape {} overflows", ShapeText(entry.shape));
    }
  }
  if (entry.end - entry.begin != expected) {
    return InvalidArgument("{} bytes, but shape {} of {} takes {}", entry.end - entry.begin,
                           ShapeText(entry.shape), entry.dtype, expected);
  }
  return absl::OkStatus();
}

absl::Status ParseOffsets(const nlohmann::json& tensor, uint64_t data_begin, uint64_t file_bytes,
                          SafetensorsEntry& entry) {
  const auto it = tensor.find("data_offsets");
  if (it == tensor.end() || !it->is_array() || it->size() != 2) {
    return InvalidArgument("`data_offsets` is not a pair");
  }
  ASSIGN_OR_RETURN(const uint64_t begin, Unsigned((*it)[0], "`data_offsets`"));
  ASSIGN_OR_RETURN(const uint64_t end, Unsigned((*it)[1], "`data_offsets`"));
  const uint64_t data_bytes = file_bytes - data_begin;
  if (begin > end) return InvalidArgument("`data_offsets` [{},{}] run backwards", begin, end);
  if (end > data_bytes) {
    return InvalidArgument("ends at byte {} of the data, but the file holds {}: truncated", end,
                           data_bytes);
  }
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const nlohmann::json& tensor, uint64_t data_begin,
                                            uint64_t file_bytes) {
  if (!tensor.is_object()) return InvalidArgument("not described by an object");
  SafetensorsEntry entry;
  const auto dtype = tensor.find("dtype");
  if (dtype == tensor.end() || !dtype->is_string()) {
    return InvalidArgument("`dtype` is not a string");
  }
  entry.dtype = dtype->get<std::string>();
  ASSIGN_OR_RETURN(entry.shape, ParseShape(tensor));
  RETURN_IF_ERROR(ParseOffsets(tensor, data_begin, file_bytes, entry));
  RETURN_IF_ERROR(CheckBytes(entry));
  return entry;
}

// Laid end to end, the tensors fill the data exactly.
absl::Status CheckCoverage(const SafetensorsHeader& header, uint64_t file_bytes) {
  using Named = std::pair<const std::string, SafetensorsEntry>;
  std::vector<const Named*> order;
  for (const Named& named : header.tensors) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t covered = header.data_begin;
  for (const Named* named : order) {
    const auto& [name, entry] = *named;
    if (entry.begin < covered) {
      return InvalidArgument("tensor {}: overlaps the tensor before it by {} bytes", name,
                             covered - entry.begin);
    }
    if (entry.begin > covered) {
      return InvalidArgument("tensor {}: {} bytes before it belong to no tensor", name,
                             entry.begin - covered);
    }
    covered = entry.end;
  }
  if (covered != file_bytes) {
    return InvalidArgument("{} bytes at the end belong to no tensor", file_bytes - covered);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const std::byte> file) {
  ASSIGN_OR_RETURN(const uint64_t header_bytes, HeaderBytes(file));
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, header_bytes);
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(text, "header", kHeaderBytesMax));
  SafetensorsHeader header;
  header.data_begin = 8 + header_bytes;
  for (const auto& [name, tensor] : json.items()) {
    if (name == "__metadata__") continue;
    absl::StatusOr<SafetensorsEntry> entry = ParseEntry(tensor, header.data_begin, file.size());
    if (!entry.ok()) return Annotate(entry.status(), fmt::format("tensor {}", name));
    header.tensors.emplace(name, *std::move(entry));
  }
  RETURN_IF_ERROR(CheckCoverage(header, file.size()));
  return header;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

}  // namespace baton::model
