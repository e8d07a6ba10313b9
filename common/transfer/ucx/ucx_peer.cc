#include "common/transfer/ucx/ucx_peer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/clock.h"

// A job's life:
//
//   Add -> [waiting] -> Begin: key unpacked -> puts issued, slice by slice -> flush issued
//       -> every callback has run -> done, once it is the first in the queue
//
// Over shared memory a put is a copy made inside ucp_put_nbx: nothing is ever outstanding. Over a
// network, puts and flushes of several jobs overlap; they end in order because the queue is popped
// from its front only.
namespace baton::transfer {
namespace {

constexpr uint64_t kSliceBytes = 4 << 20;  // ~0.2 ms of copying
constexpr size_t kOperationsMax = 128;     // per peer, handed to UCX and not completed

}  // namespace

UcxPeer::UcxPeer(UcxWorker& worker, std::string address, JobEnd on_job_end)
    : worker_(worker), address_(std::move(address)), on_job_end_(std::move(on_job_end)) {}

UcxPeer::~UcxPeer() {
  CHECK(jobs_.empty(), "{} transfers still queued", jobs_.size());
  if (close_request_ != nullptr) ucp_request_free(close_request_);
  for (auto& [remote_key, region] : regions_) ucp_rkey_destroy(region.ucx);
}

void UcxPeer::Add(std::unique_ptr<PutJob> job) {
  job->peer = this;
  job->status = broken_;
  jobs_.push_back(std::move(job));
}

bool UcxPeer::Advance() {
  bool moved = false;
  uint64_t budget = kSliceBytes;
  for (size_t i = 0; i < jobs_.size() && budget > 0 && operations_ < kOperationsMax; ++i) {
    PutJob& job = *jobs_[i];
    if (job.flush_started || !job.status.ok()) continue;
    moved |= Issue(job, &budget);
    if (!job.flush_started && job.status.ok()) break;  // out of budget: later jobs wait
  }
  return EndFinishedJobs() || moved;
}

bool UcxPeer::Issue(PutJob& job, uint64_t* budget) {
  if (job.region == nullptr) Begin(job);
  while (job.status.ok() && job.next < job.puts.size()) {
    if (*budget == 0 || operations_ >= kOperationsMax) return true;
    *budget -= IssuePut(job, *budget);
  }
  if (job.status.ok()) IssueFlush(job);
  return true;
}

void UcxPeer::Begin(PutJob& job) {
  absl::StatusOr<const RemoteRegion*> region = RegionOf(job.remote_key);
  if (!region.ok()) {
    job.status = region.status();
    return;
  }
  job.region = *region;
  for (const Put& put : job.puts) {
    if (job.region->key.Holds(put.remote_address, put.bytes)) continue;
    job.status = InvalidArgument(
        "remote_address: {} bytes at {} are not within the region of {} bytes at {}", put.bytes,
        put.remote_address, job.region->key.bytes, job.region->key.address);
    return;
  }
}

absl::Status UcxPeer::Open() {
  if (endpoint_ != nullptr) return absl::OkStatus();
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
  params.address = reinterpret_cast<const ucp_address_t*>(address_.data());
  if (worker_.path() == Path::kNetwork) {
    params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
    params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    params.err_handler.cb = &UcxPeer::OnEndpointError;
    params.err_handler.arg = this;
  }
  return FromUcx(ucp_ep_create(worker_.handle(), &params, &endpoint_), "connecting to the peer");
}

absl::StatusOr<const RemoteRegion*> UcxPeer::RegionOf(const std::string& remote_key) {
  if (auto known = regions_.find(remote_key); known != regions_.end()) return &known->second;
  std::optional<RemoteKey> key = RemoteKey::Unpack(remote_key);
  if (!key || key->keys[worker_.path()].empty()) {
    return InvalidArgument("remote_key is not one of this transport's for this path");
  }
  RETURN_IF_ERROR(Open());
  ucp_rkey_h ucx = nullptr;
  RETURN_IF_ERROR(FromUcx(ucp_ep_rkey_unpack(endpoint_, key->keys[worker_.path()].data(), &ucx),
                          "mapping the peer's memory"));
  return &regions_.emplace(remote_key, RemoteRegion{*std::move(key), ucx}).first->second;
}

// Returns the bytes handed over, at most `bytes_max`.
uint64_t UcxPeer::IssuePut(PutJob& job, uint64_t bytes_max) {
  const Put& put = job.puts[job.next];
  const uint64_t bytes = std::min<uint64_t>(put.bytes - job.offset, bytes_max);
  if (bytes > 0) {
    ucp_request_param_t params{};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
    params.cb.send = &UcxPeer::OnOperation;
    params.user_data = &job;
    Track(job,
          ucp_put_nbx(endpoint_, put.source + job.offset, bytes, put.remote_address + job.offset,
                      job.region->ucx, &params),
          "put");
  }
  job.offset += bytes;
  if (job.offset == put.bytes) {
    ++job.next;
    job.offset = 0;
  }
  return bytes;
}

void UcxPeer::IssueFlush(PutJob& job) {
  job.flush_started = true;
  ucp_request_param_t params{};
  params.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  params.cb.send = &UcxPeer::OnOperation;
  params.user_data = &job;
  Track(job, ucp_ep_flush_nbx(endpoint_, &params), "flush");
}

// Null: completed at once, no callback. An error: never begun, no callback. Else the callback will
// run.
void UcxPeer::Track(PutJob& job, ucs_status_ptr_t request, std::string_view what) {
  if (request == nullptr) return;
  if (UCS_PTR_IS_ERR(request)) {
    job.status = FromUcx(UCS_PTR_STATUS(request), what);
    return;
  }
  ++job.outstanding;
  ++operations_;
}

void UcxPeer::OnOperation(void* request, ucs_status_t status, void* job_pointer) {
  PutJob& job = *static_cast<PutJob*>(job_pointer);
  --job.outstanding;
  --job.peer->operations_;
  if (job.status.ok()) job.status = FromUcx(status, "put");
  ucp_request_free(request);
}

void UcxPeer::OnEndpointError(void* peer, ucp_ep_h endpoint, ucs_status_t status) {
  // Not closed here: UCX is in the middle of its own progress. The transfer thread sees failed().
  static_cast<UcxPeer*>(peer)->Fail(FromUcx(status, "the connection to the peer broke"));
}

void UcxPeer::Fail(const absl::Status& status) {
  if (broken_.ok()) broken_ = status;
  for (auto& job : jobs_) {
    if (!job->Ended() && job->status.ok()) job->status = broken_;
  }
}

void UcxPeer::Close(const absl::Status& status, absl::Duration linger) {
  if (closing_) return;
  Fail(status);
  closing_ = true;
  // A copy into shared memory is over when it returns; what a socket took may still be on its way.
  if (worker_.path() == Path::kNetwork) lingers_until_ = Clock::Real().Monotonic() + linger;
  if (endpoint_ != nullptr) {
    ucp_request_param_t params{};
    // Without failure handling (shared memory) UCX knows no force, and nothing is ever under way.
    if (worker_.path() == Path::kNetwork) {
      params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
      params.flags = UCP_EP_CLOSE_FLAG_FORCE;
    }
    close_request_ = ucp_ep_close_nbx(endpoint_, &params);
    if (UCS_PTR_IS_ERR(close_request_)) close_request_ = nullptr;
    endpoint_ = nullptr;
  }
  EndFinishedJobs();
}

bool UcxPeer::ClosedInUcx() const {
  return close_request_ == nullptr || ucp_request_check_status(close_request_) != UCS_INPROGRESS;
}

bool UcxPeer::Lingers(const PutJob& job) const {
  if (worker_.path() != Path::kNetwork || broken_.ok() || job.status.ok() || !job.Begun())
    return false;
  return !closing_ || Clock::Real().Monotonic() < lingers_until_;
}

bool UcxPeer::EndFinishedJobs() {
  bool ended = false;
  while (!jobs_.empty() && jobs_.front()->Ended()) {
    if (Lingers(*jobs_.front())) break;
    std::unique_ptr<PutJob> job = std::move(jobs_.front());
    jobs_.pop_front();
    on_job_end_(*job);
    ended = true;
  }
  return ended;
}

}  // namespace baton::transfer
