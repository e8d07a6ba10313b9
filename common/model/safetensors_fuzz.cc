#include <cstddef>
#include <cstdint>

#include "common/base/check.h"
#include "common/model/safetensors.h"

// Any bytes are either refused or described by entries that lie inside them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto header = baton::model::ParseSafetensorsHeader(std::as_bytes(std::span(data, size)));
  if (!header.ok()) return 0;
  for (const auto& [name, entry] : header->tensors) {
    CHECK(header->data_begin <= entry.begin && entry.begin <= entry.end && entry.end <= size,
          "{}: {} to {} of {}", name, entry.begin, entry.end, size);
  }
  return 0;
}
