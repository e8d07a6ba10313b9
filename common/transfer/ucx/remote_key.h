#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/transfer/ucx/per_path.h"

namespace baton::transfer {

// What a writer needs to know of a region: its bounds, checked before every put because over shared
// memory nobody else would, and UCX's key for each path. Packed as two little-endian 64-bit numbers
// and the packed keys.
struct RemoteKey {
  uint64_t address = 0;
  uint64_t bytes = 0;
  PerPath keys;

  bool Holds(uint64_t put_address, uint64_t put_bytes) const {
    return put_address >= address && put_bytes <= bytes &&
           put_address - address <= bytes - put_bytes;
  }

  std::string Pack() const;
  static std::optional<RemoteKey> Unpack(std::string_view packed);
};

}  // namespace baton::transfer
