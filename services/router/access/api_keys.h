#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/file_stamp.h"
#include "common/base/status.h"
#include "services/router/access/api_key_table.h"

namespace baton::router {

// Who may speak, and for which tenant. Thread-safe.
class ApiKeys {
 public:
  // Everybody may, for the tenant they name.
  ApiKeys() = default;

  // The holders of the file's keys (see ApiKeyTable), each for its tenant. FAILED_PRECONDITION
  // names the file, the line, and what to do.
  static absl::StatusOr<std::unique_ptr<ApiKeys>> Load(std::string path,
                                                       std::set<std::string> tenants);

  // `authorization`: of the request, "Bearer KEY" or empty. `claimed`: the tenant it names, which
  // counts where there are no keys only. UNAUTHENTICATED says what is missing.
  absl::StatusOr<std::string> TenantOf(std::string_view authorization,
                                       std::string_view claimed) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads the file again when it has changed; looks at it once a second at most. While it cannot be
  // read or used the keys of before go on, with one error in the log.
  void Refresh(absl::Duration now) ABSL_LOCKS_EXCLUDED(mutex_);

  bool required() const { return !path_.empty(); }

 private:
  absl::StatusOr<ApiKeyTable> Read() const;

  const std::string path_;  // empty: no keys
  const std::set<std::string> tenants_;
  ApiKeys(std::string path, std::set<std::string> tenants)
      : path_(std::move(path)), tenants_(std::move(tenants)) {}

  mutable absl::Mutex mutex_;
  std::shared_ptr<const ApiKeyTable> table_ ABSL_GUARDED_BY(mutex_);
  FileStamp stamp_ ABSL_GUARDED_BY(mutex_);
  absl::Duration look_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
