#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/dispatch/decode_link.h"

namespace baton::router {

// The router's links to decode workers, one each; one that breaks may be opened again after a
// pause. Thread-safe.
class DecodeLinks {
 public:
  // The listener outlives this.
  DecodeLinks(DecodeLinkOpener open, DecodeLinkListener& listener, absl::Duration reconnect_pause,
              const Clock& clock);
  // After Shutdown().
  ~DecodeLinks();

  // Does nothing where there is one, and after Shutdown() has begun.
  void Open(const WorkerId& worker, const std::string& address);
  std::shared_ptr<DecodeLink> To(const WorkerId& worker) const;  // null: none
  std::vector<std::shared_ptr<DecodeLink>> All() const;

  // From the listener's OnBroken(): first the link is no more, and at its end nothing of it is.
  void Forget(const DecodeLink& link);
  void Ended();
  // Workers whose link broke a while ago; each is told once per link.
  std::vector<WorkerId> TakeDue();

  // Closes every link and waits for the end of the last one's OnBroken().
  void Shutdown();

 private:
  const DecodeLinkOpener open_;
  DecodeLinkListener& listener_;
  const absl::Duration reconnect_pause_;
  const Clock& clock_;

  mutable absl::Mutex mutex_;
  // Ordered: what becomes of many at once does not depend on how they were hashed.
  std::map<WorkerId, std::shared_ptr<DecodeLink>> links_ ABSL_GUARDED_BY(mutex_);
  std::map<WorkerId, absl::Duration> broken_at_ ABSL_GUARDED_BY(mutex_);
  int alive_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::router
