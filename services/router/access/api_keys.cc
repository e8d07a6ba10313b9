#include "services/router/access/api_keys.h"

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "common/telemetry/logging.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr std::streamoff kFileBytesMax = 4 << 20;
constexpr std::string_view kScheme = "bearer ";

// The key, or empty. The scheme's name may be written in any case.
std::string_view KeyIn(std::string_view authorization) {
  if (authorization.size() < kScheme.size()) return {};
  const std::string_view scheme = authorization.substr(0, kScheme.size());
  if (!absl::EqualsIgnoreCase(absl::string_view(scheme.data(), scheme.size()),
                              absl::string_view(kScheme.data(), kScheme.size()))) {
    return {};
  }
  authorization.remove_prefix(kScheme.size());
  const size_t begin = authorization.find_first_not_of(' ');
  return begin == std::string_view::npos ? std::string_view() : authorization.substr(begin);
}

absl::Status Refused(std::string_view message, std::string_view code) {
  return WithErrorCode(absl::UnauthenticatedError(std::string(message)), code);
}

}  // namespace

absl::StatusOr<ApiKeyTable> ApiKeys::Read() const {
  std::ifstream file(path_, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? std::streamoff(file.tellg()) : -1;
  if (size < 0) {
    return FailedPrecondition(
        "api_keys_file {}: cannot be read; is the secret mounted and may this user read it?",
        path_);
  }
  if (size > kFileBytesMax) {
    return FailedPrecondition("api_keys_file {}: longer than {} bytes", path_, kFileBytesMax);
  }
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  absl::StatusOr<ApiKeyTable> table = ApiKeyTable::Parse(text.str(), tenants_);
  if (table.ok()) return table;
  return FailedPrecondition("api_keys_file {}: {}", path_, MessageOf(table.status()));
}

absl::StatusOr<std::unique_ptr<ApiKeys>> ApiKeys::Load(std::string path,
                                                       std::set<std::string> tenants) {
  std::unique_ptr<ApiKeys> keys(new ApiKeys(std::move(path), std::move(tenants)));
  const FileStamp stamp = StampOf(keys->path_);  // before: a change meanwhile is seen afterwards
  ASSIGN_OR_RETURN(ApiKeyTable table, keys->Read());
  absl::MutexLock lock(&keys->mutex_);
  keys->stamp_ = stamp;
  keys->table_ = std::make_shared<const ApiKeyTable>(std::move(table));
  return keys;
}

absl::StatusOr<std::string> ApiKeys::TenantOf(std::string_view authorization,
                                              std::string_view claimed) const {
  if (!required()) return std::string(claimed);
  const std::string_view key = KeyIn(authorization);
  if (key.empty()) {
    return Refused(
        "an API key is missing: send the header (gRPC: the metadata) \"Authorization: Bearer KEY\"",
        "missing_api_key");
  }
  std::shared_ptr<const ApiKeyTable> table;
  {
    absl::MutexLock lock(&mutex_);
    table = table_;
  }
  std::optional<std::string> tenant = table->TenantOf(key);
  if (!tenant) return Refused("the API key is not known here", "invalid_api_key");
  return *std::move(tenant);
}

void ApiKeys::Refresh(absl::Duration now) {
  if (!required()) return;
  {
    absl::MutexLock lock(&mutex_);
    if (now < look_at_) return;
    look_at_ = now + kLookEvery;
  }
  const FileStamp stamp = StampOf(path_);
  {
    absl::MutexLock lock(&mutex_);
    if (stamp == stamp_) return;
    stamp_ = stamp;
  }
  absl::StatusOr<ApiKeyTable> table = Read();
  if (!table.ok()) {
    return telemetry::LogError("access", "the API keys of before stay in use",
                               {{"why", MessageOf(table.status())}});
  }
  telemetry::LogInfo("access", "API keys read again", {{"keys", table->size()}});
  absl::MutexLock lock(&mutex_);
  table_ = std::make_shared<const ApiKeyTable>(*std::move(table));
}

}  // namespace baton::router
