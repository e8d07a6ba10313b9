#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/config/address.h"
#include "common/http/http_call.h"

namespace baton::cli {

// A worker as the router sees it.
struct WorkerView {
  bool reachable = false;  // the router can give it work
  int running = 0;
  int waiting = 0;
  int64_t prompt_tokens = 0;  // computed here since its start
  int64_t cached_tokens = 0;
  int64_t output_tokens = 0;
  int64_t kv_bytes = 0;  // handed over (prefill) or received (decode)
  int blocks_total = 0;
  int blocks_active = 0;
};

// The cluster at one moment.
struct ClusterView {
  bool live = false;   // the router answers
  bool ready = false;  // and has a decode worker
  int64_t requests = 0;
  std::optional<double> ttft_p50_seconds;
  std::optional<double> itl_p50_seconds;
  std::map<std::string, WorkerView> workers;  // by the name given with --worker-id
};

// Fills `view` from the pages /debug/cluster and /metrics. Unknown shapes leave it as it is.
void ReadDebugPage(std::string_view json, ClusterView& view);
void ReadMetricsPage(std::string_view text, ClusterView& view);

// Asks the router over and over on a thread of its own.
class ClusterWatch {
 public:
  // `wake_fd` is an eventfd, written after every look; it must outlive the watch.
  explicit ClusterWatch(int wake_fd);
  ~ClusterWatch();

  // Where the router listens; until it is told, and after an empty address, nothing is asked.
  void Watch(const http::Door& http, absl::Duration pause);
  ClusterView view() const;

 private:
  void Run();

  const int wake_fd_;
  mutable absl::Mutex mutex_;
  http::Door http_ ABSL_GUARDED_BY(mutex_);
  absl::Duration pause_ ABSL_GUARDED_BY(mutex_) = absl::Milliseconds(100);
  ClusterView view_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace baton::cli
