#include "common/handover/fencer.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "common/handover/destination.h"

namespace baton::handover {
namespace {

constexpr absl::Duration kAskEvery = absl::Milliseconds(100);
constexpr std::chrono::milliseconds kAnswerWithin(300);

}  // namespace

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
      doubts.swap(doubts_);
    }
    std::vector<Doubt> open;
    for (Doubt& doubt : doubts) {
      if (IsOver(doubt)) {
        fenced_(doubt.epoch);
      } else {
        open.push_back(std::move(doubt));
      }
    }
    absl::MutexLock lock(&mutex_);
    doubts_.insert(doubts_.end(), std::make_move_iterator(open.begin()),
                   std::make_move_iterator(open.end()));
    if (!doubts_.empty()) mutex_.AwaitWithTimeout(absl::Condition(&stopping), kAskEvery);
  }
}

bool Fencer::IsOver(const Doubt& doubt) {
  if (transport_.Probe(FromProto(doubt.target.transfer())) == transfer::PeerState::kGone)
    return true;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerWithin);
  v1::FenceRequest request;
  request.set_caller(caller_);
  request.set_epoch(doubt.wire_epoch);
  v1::FenceResponse response;
  return peers_.StubFor(doubt.target.grpc_address())->Fence(&context, request, &response).ok();
}

}  // namespace baton::handover
