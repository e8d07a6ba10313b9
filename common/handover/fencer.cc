#include "common/handover/fencer.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/handover/destination.h"

namespace baton::handover {
namespace {

constexpr absl::Duration kAskAfter = absl::Milliseconds(100);
constexpr absl::Duration kAnswerWithin = absl::Milliseconds(300);
// A worker on a machine that can hardly breathe answers too late again and again: it is given
// longer each time.
constexpr absl::Duration kAnswerWithinMax = absl::Seconds(5);

}  // namespace

// The doubts. Outlives the fencer while questions are under way; closed, it hears no answer.
class Fencer::Docket : public std::enable_shared_from_this<Docket> {
 public:
  Docket(std::string caller, transfer::Transport& transport, PrefillPeers& peers, Fenced fenced)
      : caller_(std::move(caller)),
        transport_(transport),
        peers_(peers),
        fenced_(std::move(fenced)) {}

  void Add(const Doubt& doubt);
  void Tick(absl::Duration now);
  void Close();
  int32_t size() const {
    absl::MutexLock lock(&mutex_);
    return static_cast<int32_t>(doubts_.size());
  }

 private:
  struct Entry {
    Doubt doubt;
    absl::Duration answer_within = kAnswerWithin;
    bool asking = true;
    std::optional<absl::Duration> ask_at;  // counted from the first tick after an answer
  };
  void Ask(const Doubt& doubt, absl::Duration answer_within);
  void OnAnswer(uint64_t epoch, bool over);

  const std::string caller_;
  transfer::Transport& transport_;
  PrefillPeers& peers_;
  const Fenced fenced_;
  mutable absl::Mutex mutex_;
  std::vector<Entry> doubts_ ABSL_GUARDED_BY(mutex_);
  int32_t telling_ ABSL_GUARDED_BY(mutex_) = 0;  // calls of fenced_ under way
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

void Fencer::Docket::Add(const Doubt& doubt) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    doubts_.push_back({.doubt = doubt});
  }
  Ask(doubt, kAnswerWithin);
}

void Fencer::Docket::Tick(absl::Duration now) {
  std::vector<Entry> due;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    for (Entry& entry : doubts_) {
      if (entry.asking) continue;
      if (!entry.ask_at) entry.ask_at = now + kAskAfter;
      if (now < *entry.ask_at) continue;
      entry.asking = true;
      entry.ask_at.reset();
      entry.answer_within = std::min(entry.answer_within * 2, kAnswerWithinMax);
      due.push_back(entry);
    }
  }
  for (const Entry& entry : due) Ask(entry.doubt, entry.answer_within);
}

void Fencer::Docket::Ask(const Doubt& doubt, absl::Duration answer_within) {
  if (transport_.Probe(FromProto(doubt.target.transfer())) == transfer::PeerState::kGone) {
    return OnAnswer(doubt.epoch, true);
  }
  v1::FenceRequest request;
  request.set_caller(caller_);
  request.set_epoch(doubt.wire_epoch);
  peers_.Fence(doubt.target, request, answer_within,
               [self = shared_from_this(), epoch = doubt.epoch](const absl::Status& status) {
                 self->OnAnswer(epoch, status.ok());
               });
}

void Fencer::Docket::OnAnswer(uint64_t epoch, bool over) {
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    const auto entry = std::find_if(doubts_.begin(), doubts_.end(),
                                    [&](const Entry& e) { return e.doubt.epoch == epoch; });
    if (entry == doubts_.end()) return;
    if (!over) {
      entry->asking = false;
      return;
    }
    doubts_.erase(entry);
    ++telling_;
  }
  fenced_(epoch);
  absl::MutexLock lock(&mutex_);
  --telling_;
}

void Fencer::Docket::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  const auto quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return telling_ == 0; };
  mutex_.Await(absl::Condition(&quiet));
}

Fencer::Fencer(std::string caller, transfer::Transport& transport, PrefillPeers& peers,
               Fenced fenced)
    : docket_(std::make_shared<Docket>(std::move(caller), transport, peers, std::move(fenced))) {}

Fencer::~Fencer() { Stop(); }

void Fencer::Stop() { docket_->Close(); }
void Fencer::Watch(const Doubt& doubt) { docket_->Add(doubt); }
void Fencer::Tick(absl::Duration now) { docket_->Tick(now); }
int32_t Fencer::watched() const { return docket_->size(); }

}  // namespace baton::handover
