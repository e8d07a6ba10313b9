#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/engine/observer.h"
#include "common/rpc/credentials.h"
#include "common/worker/router_link.h"

namespace baton::worker {

// Presence at every router. Addresses are host:port; a name that resolves to several addresses (a
// headless Service) means a router at each of them, looked up again every few seconds. One control
// thread.
class RouterLinks {
 public:
  RouterLinks(std::vector<std::string> addresses, v1::Registration registration,
              RouterWishes wishes, rpc::Credentials credentials, const Clock& clock);
  ~RouterLinks();
  // Closes all links and joins the thread: nothing is asked for and nothing is sent any more.
  void Stop();

  void SendLoad(const v1::Load& load);
  void SendKvEvents(const engine::KvEvents& events);
  void SendDraining();
  // The engine hangs, or goes on: told to every router, also to those met later.
  void SetStalled(bool stalled);
  // Routers that have welcomed this worker.
  int32_t connected() const;

 private:
  void Run();
  void Resolve();
  // Says once, and again after every time with a router, that there has been none for a while.
  void WarnWhenAlone();
  std::string WhyAlone() const ABSL_LOCKS_EXCLUDED(mutex_);

  const std::vector<std::string> addresses_;
  const v1::Registration registration_;
  const RouterWishes wishes_;
  const rpc::Credentials credentials_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<RouterLink>> links_ ABSL_GUARDED_BY(mutex_);
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration alone_since_;  // the control thread's, as the next
  bool warned_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace baton::worker
