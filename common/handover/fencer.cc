#include "common/handover/fencer.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>

#include "absl/container/flat_hash_set.h"
#include "common/handover/destination.h"

namespace baton::handover {
namespace {

constexpr absl::Duration kAskEvery = absl::Milliseconds(100);
constexpr std::chrono::milliseconds kAnswerWithin(300);

}  // namespace

// One Fence call; stays where it is until it has ended.
struct Fencer::Question {
  explicit Question(Doubt about) : doubt(std::move(about)) {}

  Doubt doubt;
  grpc::ClientContext context;
  v1::FenceRequest request;
  v1::FenceResponse response;
  bool answered = false;  // guarded by the fencer's mutex until the call has ended
};

Fencer::Fencer(std::string caller, transfer::Transport& transport, PrefillPeers& peers,
               Fenced fenced)
    : caller_(std::move(caller)),
      transport_(transport),
      peers_(peers),
      fenced_(std::move(fenced)),
      thread_([this] { Run(); }) {}

Fencer::~Fencer() { Stop(); }

void Fencer::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Fencer::Watch(Doubt doubt) {
  absl::MutexLock lock(&mutex_);
  doubts_.push_back(std::move(doubt));
}

int32_t Fencer::watched() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int32_t>(doubts_.size());
}

void Fencer::Run() {
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !doubts_.empty();
  };
  const auto stopping = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_; };
  while (true) {
    std::vector<Doubt> doubts;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&has_work));
      if (stopping_) return;
      doubts = doubts_;
    }
    const std::vector<Doubt> over = Ask(doubts);
    for (const Doubt& doubt : over) fenced_(doubt.epoch);
    Forget(over);
    absl::MutexLock lock(&mutex_);
    if (!doubts_.empty()) mutex_.AwaitWithTimeout(absl::Condition(&stopping), kAskEvery);
  }
}

std::vector<Fencer::Doubt> Fencer::Ask(const std::vector<Doubt>& doubts) {
  std::vector<Doubt> over;
  std::vector<std::unique_ptr<Question>> questions;
  for (const Doubt& doubt : doubts) {
    if (transport_.Probe(FromProto(doubt.target.transfer())) == transfer::PeerState::kGone) {
      over.push_back(doubt);
    } else {
      questions.push_back(std::make_unique<Question>(doubt));
    }
  }
  for (auto& question : questions) Put(*question);
  {
    const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stopping_ || unanswered_ == 0;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&settled));
  }
  for (auto& question : questions) question->context.TryCancel();  // no-op where it is answered
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return unanswered_ == 0; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&none));
  for (auto& question : questions) {
    if (question->answered) over.push_back(std::move(question->doubt));
  }
  return over;
}

void Fencer::Put(Question& question) {
  const Doubt& doubt = question.doubt;
  question.context.set_deadline(std::chrono::system_clock::now() + kAnswerWithin);
  question.request.set_caller(caller_);
  question.request.set_epoch(doubt.wire_epoch);
  {
    absl::MutexLock lock(&mutex_);
    ++unanswered_;
  }
  peers_.StubFor(doubt.target.grpc_address())
      ->async()
      ->Fence(&question.context, &question.request, &question.response,
              [this, &question](const grpc::Status& status) {
                absl::MutexLock lock(&mutex_);
                question.answered = status.ok();
                --unanswered_;
              });
}

void Fencer::Forget(const std::vector<Doubt>& over) {
  absl::flat_hash_set<uint64_t> epochs;
  for (const Doubt& doubt : over) epochs.insert(doubt.epoch);
  absl::MutexLock lock(&mutex_);
  std::erase_if(doubts_, [&](const Doubt& doubt) { return epochs.contains(doubt.epoch); });
}

}  // namespace baton::handover
