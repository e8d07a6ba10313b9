#include "common/transfer/ucx/remote_key.h"

namespace baton::transfer {
namespace {

constexpr size_t kBoundsBytes = 16;

void AppendNumber(uint64_t number, std::string* to) {
  for (int shift = 0; shift < 64; shift += 8)
    to->push_back(static_cast<char>((number >> shift) & 0xff));
}

uint64_t ReadNumber(std::string_view from) {
  uint64_t number = 0;
  for (int i = 0; i < 8; ++i) {
    number |= static_cast<uint64_t>(static_cast<uint8_t>(from[i])) << (8 * i);
  }
  return number;
}

}  // namespace

std::string RemoteKey::Pack() const {
  std::string packed;
  AppendNumber(address, &packed);
  AppendNumber(bytes, &packed);
  return packed + keys.Pack();
}

std::optional<RemoteKey> RemoteKey::Unpack(std::string_view packed) {
  if (packed.size() < kBoundsBytes) return std::nullopt;
  std::optional<PerPath> keys = PerPath::Unpack(packed.substr(kBoundsBytes));
  if (!keys) return std::nullopt;
  return RemoteKey{ReadNumber(packed), ReadNumber(packed.substr(8)), *std::move(keys)};
}

}  // namespace baton::transfer
