#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/transfer/transport.h"
#include "common/transfer/ucx/remote_key.h"
#include "common/transfer/ucx/ucx_worker.h"

namespace baton::transfer {

class UcxPeer;

// A peer's region, mapped or otherwise reachable through its endpoint.
struct RemoteRegion {
  RemoteKey key;
  ucp_rkey_h ucx = nullptr;
};

// One PutAll on its way.
struct PutJob {
  std::string remote_key;
  std::vector<Put> puts;
  std::function<void(absl::Status)> done;
  uint64_t bytes = 0;

  UcxPeer* peer = nullptr;
  const RemoteRegion* region = nullptr;  // the peer's; null until begun
  size_t next = 0;                       // the first piece not yet given to UCX
  uint64_t offset = 0;                   // bytes of it already given
  size_t outstanding = 0;  // operations whose callback has not run: puts and the flush
  bool flush_started = false;
  absl::Status status;  // the first failure; no piece is begun after it

  bool Ended() const { return outstanding == 0 && (flush_started || !status.ok()); }
  bool Begun() const { return next > 0 || offset > 0; }
};

// The endpoint to one peer, with its unpacked keys and its queue of jobs. Transfer thread only. It
// dies in two steps, because UCX owns what is under way: Close(), then progress until closed().
class UcxPeer {
 public:
  using JobEnd = std::function<void(PutJob&)>;

  // `on_job_end` runs for every job exactly once, in the order of Add().
  UcxPeer(UcxWorker& worker, std::string address, JobEnd on_job_end);
  ~UcxPeer();
  UcxPeer(const UcxPeer&) = delete;
  UcxPeer& operator=(const UcxPeer&) = delete;

  void Add(std::unique_ptr<PutJob> job);
  // Gives UCX up to a slice of the queue's bytes and ends what is finished, so that one peer's long
  // transfer neither starves the others nor delays commands. Whether anything moved.
  bool Advance();
  // Every job not yet ended will end with this; so will all later ones.
  void Fail(const absl::Status& status);
  // Fails what is left, and by force what UCX holds. Jobs of which bytes may still sit in a socket
  // end `linger` later, so that after their end nothing of them lands.
  void Close(const absl::Status& status, absl::Duration linger);

  bool closed() const { return closing_ && jobs_.empty() && ClosedInUcx(); }
  // When closed() can become true at the earliest, monotonic; the past when nothing lingers.
  absl::Duration lingers_until() const {
    return jobs_.empty() ? -absl::InfiniteDuration() : lingers_until_;
  }
  bool failed() const { return !broken_.ok(); }
  // Whether UCX holds operations whose completion only progress can bring.
  bool in_flight() const { return operations_ > 0 || (closing_ && !ClosedInUcx()); }
  bool idle() const { return jobs_.empty(); }
  const UcxWorker& worker() const { return worker_; }

 private:
  absl::Status Open();
  absl::StatusOr<const RemoteRegion*> RegionOf(const std::string& remote_key);
  void Begin(PutJob& job);
  bool Issue(PutJob& job, uint64_t* budget);
  uint64_t IssuePut(PutJob& job, uint64_t bytes_max);
  void IssueFlush(PutJob& job);
  void Track(PutJob& job, ucs_status_ptr_t request, std::string_view what);
  bool EndFinishedJobs();
  bool Lingers(const PutJob& job) const;
  bool ClosedInUcx() const;

  static void OnOperation(void* request, ucs_status_t status, void* job);
  static void OnEndpointError(void* peer, ucp_ep_h endpoint, ucs_status_t status);

  UcxWorker& worker_;
  const std::string address_;
  const JobEnd on_job_end_;
  ucp_ep_h endpoint_ = nullptr;
  std::unordered_map<std::string, RemoteRegion> regions_;  // by remote key; elements stay put
  std::deque<std::unique_ptr<PutJob>> jobs_;
  size_t operations_ = 0;  // of all jobs
  absl::Status broken_;
  bool closing_ = false;
  absl::Duration lingers_until_ = -absl::InfiniteDuration();
  ucs_status_ptr_t close_request_ = nullptr;
};

}  // namespace baton::transfer
