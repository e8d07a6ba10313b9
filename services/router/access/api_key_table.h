#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace baton::router {

// The keys of one reading of a file, as SHA-256 digests: the keys themselves are not kept. A plain
// value.
//
//   # who may ask                  a comment
//   sk-3f9c…  gold                 a key, 16 to 256 visible characters, and its tenant
//   sha256:9f86d081…               its digest in 64 hexadecimal digits; tenant: "default"
class ApiKeyTable {
 public:
  static constexpr size_t kKeysMax = 10'000;

  // `tenants`: whom a line may name, beside "default". INVALID_ARGUMENT names the line and never
  // its key. A text without a key is refused: nobody could come in.
  static absl::StatusOr<ApiKeyTable> Parse(std::string_view text,
                                           const std::set<std::string>& tenants);

  // The tenant of a key, or nothing. Takes as long whichever key it is, and whether or not there is
  // one.
  std::optional<std::string> TenantOf(std::string_view key) const;

  size_t size() const { return entries_.size(); }

 private:
  using Digest = std::array<uint8_t, 32>;
  struct Entry {
    Digest digest;
    std::string tenant;
  };
  static Digest DigestOf(std::string_view key);
  static absl::StatusOr<Digest> ParseKey(std::string_view word);

  std::vector<Entry> entries_;
};

}  // namespace baton::router
