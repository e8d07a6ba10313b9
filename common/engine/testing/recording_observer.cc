#include "common/engine/testing/recording_observer.h"

#include <functional>
#include <utility>

#include "common/base/check.h"

namespace baton::engine::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

bool AwaitUnder(absl::Mutex& mutex, const std::function<bool()>& condition) {
  absl::MutexLock lock(&mutex);
  return mutex.AwaitWithTimeout(
      absl::Condition(
          +[](const std::function<bool()>* c) { return (*c)(); }, &condition),
      kPatience);
}

}  // namespace

void RecordingObserver::OnStep(std::vector<SequenceOutput> outputs) {
  absl::MutexLock lock(&mutex_);
  for (SequenceOutput& output : outputs) {
    Told& told = told_[output.id];
    if (told.finish != FinishReason::kNone) ++told.outputs_after_finish;
    if (!output.prompt.empty() && !told.tokens.empty()) told.prompt_after_tokens = true;
    for (GeneratedToken& token : output.prompt) told.prompt.push_back(std::move(token));
    for (GeneratedToken& token : output.tokens) told.tokens.push_back(std::move(token));
    told.finish = output.finish;
    told.status = output.status;
    told.times = output.times;
  }
}

void RecordingObserver::OnPrefillNeeded(PrefillNeeded needed) {
  absl::MutexLock lock(&mutex_);
  needed_.push_back(std::move(needed));
}

void RecordingObserver::OnKvReady(KvReady ready) {
  absl::MutexLock lock(&mutex_);
  ready_.push_back(std::move(ready));
}

void RecordingObserver::OnPrefillDone(PrefillDone done) {
  absl::MutexLock lock(&mutex_);
  done_.push_back(std::move(done));
}

void RecordingObserver::OnKvEvents(KvEvents events) {
  absl::MutexLock lock(&mutex_);
  events_.push_back(std::move(events));
}

void RecordingObserver::OnLoad(const LoadReport& load) {
  absl::MutexLock lock(&mutex_);
  loads_.push_back(load);
}

bool RecordingObserver::WaitForFinish(const SequenceId& id) const {
  return AwaitUnder(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto found = told_.find(id);
    return found != told_.end() && found->second.finish != FinishReason::kNone;
  });
}

bool RecordingObserver::WaitForTokens(const SequenceId& id, size_t count) const {
  return AwaitUnder(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto found = told_.find(id);
    return found != told_.end() && found->second.tokens.size() >= count;
  });
}

bool RecordingObserver::WaitForPrefillNeeded(size_t count) const {
  return AwaitUnder(mutex_,
                    [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return needed_.size() >= count; });
}

bool RecordingObserver::WaitForPrefillDone(size_t count) const {
  return AwaitUnder(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return done_.size() >= count; });
}

RecordingObserver::Told RecordingObserver::told(const SequenceId& id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = told_.find(id);
  return found == told_.end() ? Told{} : found->second;
}

std::vector<PrefillNeeded> RecordingObserver::TakePrefillNeeded() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(needed_, {});
}

std::vector<KvReady> RecordingObserver::TakeKvReady() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(ready_, {});
}

std::vector<PrefillDone> RecordingObserver::TakePrefillDone() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(done_, {});
}

std::vector<KvEvents> RecordingObserver::kv_events() const {
  absl::MutexLock lock(&mutex_);
  return events_;
}

std::vector<LoadReport> RecordingObserver::loads() const {
  absl::MutexLock lock(&mutex_);
  return loads_;
}

std::set<kv::BlockHash> RecordingObserver::ReplayKvEvents() const {
  absl::MutexLock lock(&mutex_);
  std::set<kv::BlockHash> held;
  uint64_t number = 0;
  for (const KvEvents& events : events_) {
    CHECK(events.number == ++number, "events {} after {}", events.number, number - 1);
    if (events.snapshot) held.clear();
    for (const auto& [hash, parent] : events.stored) {
      CHECK(held.insert(hash).second, "stored twice");
    }
    for (const kv::BlockHash& hash : events.removed) {
      CHECK(held.erase(hash) == 1, "removed, but was not stored");
    }
  }
  return held;
}

}  // namespace baton::engine::testing
