#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "services/router/placement/policies.h"

namespace baton::router {

// Which policy places which model's requests. May be changed while requests are being placed: a
// decision under way ends by the policy it began with, the next one goes by the new one. Every
// model has an instance of its own, so that turns and dice of one do not depend on the others'
// requests. Thread-safe.
class PolicyTable {
 public:
  // `policy`: of every model that `models` does not give one of its own. INVALID_ARGUMENT as
  // MakePolicy's, with the model.
  static absl::StatusOr<std::unique_ptr<PolicyTable>> Make(
      std::string_view policy, const std::map<std::string, std::string>& models,
      const PolicyOptions& options);

  // As Policy::Decide().
  Decision Decide(std::string_view model, const PlacementRequest& request,
                  const PlacementSnapshot& snapshot) ABSL_LOCKS_EXCLUDED(mutex_);

  struct Setting {
    std::string policy;                         // of all models but these
    std::map<std::string, std::string> models;  // with a policy of their own: its name
    std::string_view PolicyOf(std::string_view model) const;
  };
  Setting setting() const ABSL_LOCKS_EXCLUDED(mutex_);

  // All of these return what was in force before. INVALID_ARGUMENT for an unknown name changes
  // nothing; the name in force already leaves turns and dice as they are.
  absl::StatusOr<std::string> Set(std::string_view policy) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::string> SetFor(std::string_view model, std::string_view policy)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The model goes by everybody's policy again.
  std::string Clear(std::string_view model) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Seat {
    absl::Mutex mutex;  // taken without mutex_
    std::unique_ptr<Policy> policy ABSL_PT_GUARDED_BY(mutex);
  };
  explicit PolicyTable(const PolicyOptions& options) : options_(options) {}
  std::shared_ptr<Seat> SeatOf(std::string_view model) ABSL_LOCKS_EXCLUDED(mutex_);

  const PolicyOptions options_;
  mutable absl::Mutex mutex_;
  Setting setting_ ABSL_GUARDED_BY(mutex_);
  // Made when a model's first request comes, dropped when its policy changes; shared with the
  // decisions under way.
  absl::flat_hash_map<std::string, std::shared_ptr<Seat>> seats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
