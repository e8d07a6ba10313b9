#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "baton/v1/cluster.pb.h"
#include "common/base/clock.h"
#include "common/worker/report_stream.h"

namespace baton::worker {

// What a router may ask of a worker. Called on gRPC threads; must only post.
struct RouterWishes {
  std::function<void()> snapshot;  // a full list of the cached blocks
  std::function<void()> drain;     // finish and leave
};

// This worker's presence at one router: an Attach stream, opened again whenever it breaks. A router
// that is away costs nothing but a reconnect; what it missed, the snapshot tells. Thread-safe,
// never blocks.
class RouterLink : private ReportStreamListener {
 public:
  // `address` is for people; `open` knows it.
  RouterLink(std::string address, ReportStreamOpener open, v1::Registration registration,
             RouterWishes wishes, const Clock& clock);
  // Closes the stream and waits for its end.
  ~RouterLink() override;

  // The latest load replaces one not sent yet.
  void SendLoad(const v1::Load& load);
  // In order; dropped until the router's first snapshot, and on overflow (another snapshot is asked
  // for).
  void SendKvEvents(std::shared_ptr<const v1::KvEvents> events);
  void SendDraining();
  // Part of every load from now on.
  void SetStalled(bool stalled);
  // Reconnects when it is time, and repeats the last load when nothing was said for a heartbeat.
  void Tick();

  bool connected() const;
  // Why the last stream ended without a welcome; empty: none did, or a later one was welcome.
  std::string last_error() const ABSL_LOCKS_EXCLUDED(mutex_);
  const std::string& address() const { return address_; }

 private:
  void Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TakeNext(v1::WorkerReport* report) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnNotice(const v1::RouterNotice& notice) override;
  void OnWritten() override;
  void OnEnding() override;
  void OnClosed(const std::string& why) override;

  const std::string address_;
  const ReportStreamOpener open_;
  const v1::Registration registration_;
  const RouterWishes wishes_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<ReportStream> stream_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool registered_ ABSL_GUARDED_BY(mutex_) = false;  // the registration is written
  bool welcome_ ABSL_GUARDED_BY(mutex_) = false;
  bool snapshot_due_ ABSL_GUARDED_BY(mutex_) = true;  // drop events until the next snapshot
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  bool load_fresh_ ABSL_GUARDED_BY(mutex_) = false;
  v1::Load load_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<const v1::KvEvents>> events_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_write_ ABSL_GUARDED_BY(mutex_);
  absl::Duration open_after_ ABSL_GUARDED_BY(mutex_);  // not before this
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_);
  std::string last_error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::worker
