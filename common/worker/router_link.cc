#include "common/worker/router_link.h"

#include <algorithm>

#include "common/telemetry/logging.h"

// Life of a stream:  Open -> registration written -> Welcome -> (loads, events, …) -> closed ->
// back-off After Welcome the engine is asked for a snapshot; KV events flow from that snapshot on.
namespace baton::worker {
namespace {

constexpr size_t kEventsMax =
    1024;  // messages waiting for a slow router, before a snapshot is cheaper
constexpr absl::Duration kBackoffMin = absl::Milliseconds(100);
constexpr absl::Duration kBackoffMax = absl::Seconds(1);

}  // namespace

RouterLink::RouterLink(std::string address, ReportStreamOpener open, v1::Registration registration,
                       RouterWishes wishes, const Clock& clock)
    : address_(std::move(address)),
      open_(std::move(open)),
      registration_(std::move(registration)),
      wishes_(std::move(wishes)),
      clock_(clock),
      backoff_(kBackoffMin) {}

RouterLink::~RouterLink() {
  std::shared_ptr<ReportStream> stream;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    stream = stream_;
  }
  if (stream != nullptr) stream->Cancel();
  const auto closed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stream_ == nullptr; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&closed));
}

void RouterLink::SendLoad(const v1::Load& load) {
  absl::MutexLock lock(&mutex_);
  load_ = load;
  load_fresh_ = true;
  WriteNext();
}

void RouterLink::SendKvEvents(std::shared_ptr<const v1::KvEvents> events) {
  bool overflow = false;
  {
    absl::MutexLock lock(&mutex_);
    if (!welcome_) return;
    if (events->snapshot()) {
      snapshot_due_ = false;
      events_.clear();
    }
    if (snapshot_due_) return;
    if (events_.size() < kEventsMax) {
      events_.push_back(std::move(events));
      WriteNext();
    } else {
      overflow = snapshot_due_ = true;
      events_.clear();
    }
  }
  if (overflow) wishes_.snapshot();
}

void RouterLink::SendDraining() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  WriteNext();
}

void RouterLink::SetStalled(bool stalled) {
  absl::MutexLock lock(&mutex_);
  stalled_ = stalled;
  load_fresh_ = true;
  WriteNext();
}

void RouterLink::Tick() {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  if (stopping_) return;
  if (stream_ == nullptr) {
    if (now >= open_after_) Open();
    return;
  }
  if (now - last_write_ >= absl::Milliseconds(registration_.heartbeat_ms())) {
    load_fresh_ = true;
    WriteNext();
  }
}

bool RouterLink::connected() const {
  absl::MutexLock lock(&mutex_);
  return welcome_;
}

std::string RouterLink::last_error() const {
  absl::MutexLock lock(&mutex_);
  return last_error_;
}

void RouterLink::Open() {
  registered_ = welcome_ = draining_sent_ = writing_ = ending_ = false;
  snapshot_due_ = true;
  events_.clear();
  stream_ = open_(*this);
  stream_->Start();
  WriteNext();
}

void RouterLink::WriteNext() {
  if (stream_ == nullptr || writing_ || ending_ || stopping_) return;
  v1::WorkerReport report;
  if (!TakeNext(&report)) return;
  writing_ = true;
  last_write_ = clock_.Monotonic();
  stream_->Write(std::move(report));
}

bool RouterLink::TakeNext(v1::WorkerReport* report) {
  if (!registered_) {
    *report->mutable_registration() = registration_;
    return registered_ = true;
  }
  if (!welcome_) return false;
  if (draining_ && !draining_sent_) {
    report->mutable_draining();
    return draining_sent_ = true;
  }
  if (!events_.empty()) {
    *report->mutable_kv_events() = *events_.front();
    events_.pop_front();
    return true;
  }
  if (!load_fresh_) return false;
  *report->mutable_load() = load_;
  report->mutable_load()->set_stalled(stalled_);
  load_fresh_ = false;
  return true;
}

void RouterLink::OnNotice(const v1::RouterNotice& notice) {
  if (notice.has_drain()) {
    telemetry::LogInfo("router_link", "asked to drain", {{"router", address_}});
    return wishes_.drain();
  }
  {
    absl::MutexLock lock(&mutex_);
    if (notice.has_welcome()) {
      telemetry::LogInfo("router_link", "registered",
                         {{"router", address_}, {"router_id", notice.welcome().router_id()}});
      welcome_ = load_fresh_ = true;
      backoff_ = kBackoffMin;
      WriteNext();
    }
    snapshot_due_ = true;
  }
  wishes_.snapshot();
}

void RouterLink::OnWritten() {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  WriteNext();
}

void RouterLink::OnEnding() {
  absl::MutexLock lock(&mutex_);
  ending_ = true;
}

void RouterLink::OnClosed(const std::string& why) {
  absl::MutexLock lock(&mutex_);
  if (welcome_ && !stopping_) {
    telemetry::LogWarning("router_link", "router lost", {{"router", address_}, {"reason", why}});
  }
  last_error_ = welcome_ ? "" : why;
  welcome_ = false;
  open_after_ = clock_.Monotonic() + backoff_;
  backoff_ = std::min(backoff_ * 2, kBackoffMax);
  stream_ = nullptr;
}

}  // namespace baton::worker
