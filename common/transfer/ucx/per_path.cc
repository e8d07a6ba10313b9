#include "common/transfer/ucx/per_path.h"

namespace baton::transfer {

std::string PerPath::Pack() const {
  std::string bytes;
  for (const std::string& blob : blobs) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>((blob.size() >> shift) & 0xff));
    }
    bytes += blob;
  }
  return bytes;
}

std::optional<PerPath> PerPath::Unpack(std::string_view bytes) {
  PerPath unpacked;
  for (std::string& blob : unpacked.blobs) {
    if (bytes.size() < 4) return std::nullopt;
    uint32_t length = 0;
    for (int i = 0; i < 4; ++i) {
      length |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
    }
    bytes.remove_prefix(4);
    if (bytes.size() < length) return std::nullopt;
    blob.assign(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  if (!bytes.empty()) return std::nullopt;
  return unpacked;
}

}  // namespace baton::transfer
