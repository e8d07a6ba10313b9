#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "common/transfer/ucx/per_path.h"
#include "common/transfer/ucx/ucx_options.h"

namespace baton::transfer {

// A UCX context with its one worker, for one path. Lives and dies on the transfer thread; endpoints
// of it must be closed before.
class UcxWorker {
 public:
  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(Path path, const UcxOptions& options);
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  // Memory that peers can write into, from UCX where `existing` is null, else of these bytes. Freed
  // with the worker.
  struct Memory {
    std::byte* data = nullptr;
    std::string remote_key;
  };
  absl::StatusOr<Memory> MapMemory(std::byte* existing, size_t bytes);

  // Whether anything moved.
  bool Progress() { return ucp_worker_progress(worker_) != 0; }
  // False when events wait already: progress first. After true, event_fd() turns readable with the
  // next.
  bool Arm() { return ucp_worker_arm(worker_) == UCS_OK; }
  // -1 on the shared-memory path: its puts need nothing from the one who is written to.
  int event_fd() const { return event_fd_; }

  ucp_worker_h handle() const { return worker_; }
  const std::string& address() const { return address_; }
  Path path() const { return path_; }

 private:
  explicit UcxWorker(Path path) : path_(path) {}
  absl::Status OpenContext(const UcxOptions& options);
  absl::Status OpenWorker();

  const Path path_;
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int event_fd_ = -1;
  std::string address_;
  std::vector<ucp_mem_h> memory_;
};

// FAILED_PRECONDITION with a UCX in which a writer that dies in mid-put over TCP takes its reader
// down with it (below 1.22: it emulates puts by messages and aborts when it cannot acknowledge
// one).
absl::Status NetworkSurvivesPeers();

// A UCX status as ours, with what was being done in front.
absl::Status FromUcx(ucs_status_t status, std::string_view what);

// UCX's own messages go to our log instead of standard output. Process-wide; once.
void RouteUcxLog();

}  // namespace baton::transfer
