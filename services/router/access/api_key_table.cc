#include "services/router/access/api_key_table.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <map>

namespace baton::router {
namespace {

constexpr std::string_view kDefaultTenant = "default";
constexpr std::string_view kDigestPrefix = "sha256:";
constexpr std::string_view kBlank = " \t\r";
constexpr size_t kKeyBytesMin = 16;  // shorter ones can be guessed
constexpr size_t kKeyBytesMax = 256;

std::vector<std::string_view> WordsOf(std::string_view line) {
  std::vector<std::string_view> words;
  for (;;) {
    const size_t begin = line.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const size_t end = std::min(line.find_first_of(kBlank), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

absl::Status CheckTenant(std::string_view tenant, const std::set<std::string>& tenants) {
  if (tenant == kDefaultTenant || tenants.contains(std::string(tenant))) return absl::OkStatus();
  // A key in the wrong column must not be shown either.
  return InvalidArgument(
      "the second word must be a tenant of router.tenants or \"default\"; known: {} tenants",
      tenants.size());
}

}  // namespace

ApiKeyTable::Digest ApiKeyTable::DigestOf(std::string_view key) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

absl::StatusOr<ApiKeyTable::Digest> ApiKeyTable::ParseKey(std::string_view word) {
  if (!word.starts_with(kDigestPrefix)) {
    if (word.size() < kKeyBytesMin || word.size() > kKeyBytesMax) {
      return InvalidArgument("a key has {} to {} characters, this one {}", kKeyBytesMin,
                             kKeyBytesMax, word.size());
    }
    const bool visible =
        std::all_of(word.begin(), word.end(), [](char c) { return c > ' ' && c < 127; });
    if (!visible) return InvalidArgument("a key has visible ASCII characters only");
    return DigestOf(word);
  }
  word.remove_prefix(kDigestPrefix.size());
  Digest digest;
  bool hex = word.size() == 2 * digest.size();
  for (size_t i = 0; hex && i < digest.size(); ++i) {
    const int high = HexValue(word[2 * i]), low = HexValue(word[2 * i + 1]);
    hex = high >= 0 && low >= 0;
    digest[i] = static_cast<uint8_t>(16 * high + low);
  }
  if (!hex) return InvalidArgument("sha256: must be followed by 64 hexadecimal digits");
  return digest;
}

absl::StatusOr<ApiKeyTable> ApiKeyTable::Parse(std::string_view text,
                                               const std::set<std::string>& tenants) {
  ApiKeyTable table;
  std::map<Digest, size_t> line_of;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string_view> words = WordsOf(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.empty() || words[0].starts_with("#")) continue;
    const std::string where = fmt::format("line {}", line);
    if (words.size() > 2) {
      return InvalidArgument("{}: a line is a key and a tenant, this one has {} words", where,
                             words.size());
    }
    const absl::StatusOr<Digest> digest = ParseKey(words[0]);
    if (!digest.ok()) return Annotate(digest.status(), where);
    const std::string_view tenant = words.size() == 2 ? words[1] : kDefaultTenant;
    RETURN_IF_ERROR(Annotate(CheckTenant(tenant, tenants), where));
    if (const auto [known, fresh] = line_of.emplace(*digest, line); !fresh) {
      return InvalidArgument("{}: the same key as in line {}", where, known->second);
    }
    table.entries_.push_back({*digest, std::string(tenant)});
    if (table.size() > kKeysMax) return InvalidArgument("more than {} keys", kKeysMax);
  }
  if (table.entries_.empty()) return InvalidArgument("holds no key, nobody could come in");
  return table;
}

std::optional<std::string> ApiKeyTable::TenantOf(std::string_view key) const {
  const Digest digest = DigestOf(key);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = &entry;
  }
  if (found == nullptr) return std::nullopt;
  return found->tenant;
}

}  // namespace baton::router
