#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace baton::model {

// One tensor of a safetensors file. `begin` and `end` are byte offsets in the file, checked to lie
// inside it and to agree with shape and dtype.
struct SafetensorsEntry {
  std::string dtype;           // as written: "F32", "BF16", "I64", …
  std::vector<int64_t> shape;  // row-major; empty: one element
  uint64_t begin = 0;
  uint64_t end = 0;
};

// The table of contents of one file, by tensor name.
struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry, std::less<>> tensors;
  uint64_t data_begin = 0;  // where the tensors' bytes begin: 8 + the header's length
};

// Reads and checks the header of a whole file's bytes (they may be a mapping: only the header is
// touched). Layout: u64 little-endian header length, that much JSON, the tensors' bytes. Every byte
// of the data belongs to exactly one tensor. Errors name the tensor; the caller adds the file.
// Takes bytes from anybody: never reads outside `file`, never allocates more than a small multiple
// of the header.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const std::byte> file);

// "[3,4]"
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace baton::model
