#include "services/router/dispatch/decode_links.h"

#include <utility>

#include "common/base/check.h"

namespace baton::router {

DecodeLinks::DecodeLinks(DecodeLinkOpener open, DecodeLinkListener& listener,
                         absl::Duration reconnect_pause, const Clock& clock)
    : open_(std::move(open)),
      listener_(listener),
      reconnect_pause_(reconnect_pause),
      clock_(clock) {}

DecodeLinks::~DecodeLinks() {
  absl::MutexLock lock(&mutex_);
  CHECK(alive_ == 0, "{} links outlive their router", alive_);
}

void DecodeLinks::Open(const WorkerId& worker, const std::string& address) {
  absl::MutexLock lock(&mutex_);
  if (closing_ || links_.contains(worker)) return;
  broken_at_.erase(worker);
  ++alive_;
  links_[worker] = open_(worker, address, listener_);
}

std::shared_ptr<DecodeLink> DecodeLinks::To(const WorkerId& worker) const {
  absl::MutexLock lock(&mutex_);
  auto found = links_.find(worker);
  return found == links_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<DecodeLink>> DecodeLinks::All() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<DecodeLink>> links;
  for (const auto& [worker, link] : links_) links.push_back(link);
  return links;
}

void DecodeLinks::Forget(const DecodeLink& link) {
  absl::MutexLock lock(&mutex_);
  auto found = links_.find(link.worker());
  if (found == links_.end() || found->second.get() != &link) return;
  links_.erase(found);
  broken_at_[link.worker()] = clock_.Monotonic();
}

void DecodeLinks::Ended() {
  absl::MutexLock lock(&mutex_);
  --alive_;
}

std::vector<WorkerId> DecodeLinks::TakeDue() {
  absl::MutexLock lock(&mutex_);
  std::vector<WorkerId> due;
  for (const auto& [worker, at] : broken_at_) {
    if (clock_.Monotonic() - at >= reconnect_pause_) due.push_back(worker);
  }
  for (const WorkerId& worker : due) broken_at_.erase(worker);
  return due;
}

void DecodeLinks::Shutdown() {
  std::vector<std::shared_ptr<DecodeLink>> links;
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    broken_at_.clear();
    for (const auto& [worker, link] : links_) links.push_back(link);
  }
  for (const auto& link : links) link->Close();
  const auto all_gone = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return alive_ == 0; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&all_gone));
}

}  // namespace baton::router
