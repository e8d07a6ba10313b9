#include "common/engine/admission_gate.h"

#include "common/base/check.h"

namespace baton::engine {

absl::Status AdmissionGate::Enter(const WorkKey& key, int64_t prompt_tokens) {
  absl::MutexLock lock(&mutex_);
  if (refused_ == Refuse::kEverything || (refused_ && !key.prefill_only)) {
    return FailedPrecondition("the worker is draining and accepts nothing new");
  }
  if (waiting_sequences_ >= sequences_max_) {
    return ResourceExhausted("{} sequences wait already, the queue holds {}", waiting_sequences_,
                             sequences_max_);
  }
  if (waiting_sequences_ > 0 && waiting_tokens_ + prompt_tokens > tokens_max_) {
    return ResourceExhausted("{} prompt tokens wait already, {} more exceed the queue's {}",
                             waiting_tokens_, prompt_tokens, tokens_max_);
  }
  if (!live_.insert(key).second) {
    return absl::AlreadyExistsError(
        fmt::format("sequence {}/{} is going on already", key.id.request.value(), key.id.choice));
  }
  ++waiting_sequences_;
  waiting_tokens_ += prompt_tokens;
  return absl::OkStatus();
}

void AdmissionGate::LeaveQueue(int64_t prompt_tokens) {
  absl::MutexLock lock(&mutex_);
  --waiting_sequences_;
  waiting_tokens_ -= prompt_tokens;
  CHECK(waiting_sequences_ >= 0 && waiting_tokens_ >= 0, "{} sequences of {} tokens wait",
        waiting_sequences_, waiting_tokens_);
}

void AdmissionGate::Leave(const WorkKey& key) {
  absl::MutexLock lock(&mutex_);
  CHECK(live_.erase(key) == 1, "{}/{} was not going on", key.id.request.value(), key.id.choice);
}

void AdmissionGate::Close(Refuse what) {
  absl::MutexLock lock(&mutex_);
  refused_ = what;
}

bool AdmissionGate::empty() const {
  absl::MutexLock lock(&mutex_);
  return live_.empty();
}

}  // namespace baton::engine
