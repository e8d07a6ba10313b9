#include "common/transfer/nccl/testing/fake_links.h"

#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace baton::transfer::testing {

class FakeLink : public PairLink {
 public:
  FakeLink(FakeNccl& nccl, std::shared_ptr<FakeNccl::Pair> pair)
      : nccl_(nccl), pair_(std::move(pair)) {}
  ~FakeLink() override { Abort(); }

  // Moves all that it can.
  absl::StatusOr<bool> Busy() override {
    absl::MutexLock lock(&nccl_.mutex_);
    if (aborted_) return Unavailable("the link was aborted");
    if (!pair_->joined[0] || !pair_->joined[1]) return true;
    if (pieces_.empty()) return false;
    for (; sends_ && !pieces_.empty(); pieces_.pop_front()) {
      const Piece& piece = pieces_.front();
      pair_->on_their_way.emplace_back(piece.data, piece.data + piece.bytes);
    }
    while (!pieces_.empty() && !pair_->on_their_way.empty() && nccl_.MayLand()) {
      CHECK(pair_->on_their_way.front().size() == pieces_.front().bytes,
            "the two sides do not agree on a piece");
      std::memcpy(pieces_.front().data, pair_->on_their_way.front().data(), pieces_.front().bytes);
      pair_->on_their_way.pop_front();
      pieces_.pop_front();
    }
    return !pieces_.empty();
  }
  absl::Status Send(std::span<const Piece> pieces) override { return Begin(true, pieces); }
  absl::Status Receive(std::span<const Piece> pieces) override { return Begin(false, pieces); }
  void Abort() override {
    absl::MutexLock lock(&nccl_.mutex_);
    if (!std::exchange(aborted_, true)) --nccl_.live_;
    pieces_.clear();
  }

 private:
  absl::Status Begin(bool sends, std::span<const Piece> pieces) {
    absl::MutexLock lock(&nccl_.mutex_);
    if (aborted_) return Unavailable("the link was aborted");
    CHECK(pieces_.empty(), "begun while busy");
    sends_ = sends;
    pieces_.assign(pieces.begin(), pieces.end());
    return absl::OkStatus();
  }

  FakeNccl& nccl_;
  const std::shared_ptr<FakeNccl::Pair> pair_;
  bool aborted_ = false;  // these are guarded by nccl_.mutex_
  bool sends_ = false;
  std::deque<Piece> pieces_;
};

class FakeLinks : public PairLinks {
 public:
  explicit FakeLinks(FakeNccl& nccl) : nccl_(nccl) {}

  absl::StatusOr<std::string> MakeId() override {
    absl::MutexLock lock(&nccl_.mutex_);
    const std::string id = fmt::format("fake-{}", ++nccl_.last_id_);
    nccl_.pairs_[id] = std::make_shared<FakeNccl::Pair>();
    return id;
  }
  absl::StatusOr<std::unique_ptr<PairLink>> Join(const std::string& id, int rank) override {
    absl::MutexLock lock(&nccl_.mutex_);
    if (nccl_.refuses_) return Unavailable("NCCL cannot join");
    auto found = nccl_.pairs_.find(id);
    if (found == nccl_.pairs_.end()) return InvalidArgument("no such id");
    CHECK(!std::exchange(found->second->joined[rank], true), "rank {} joined twice", rank);
    ++nccl_.live_;
    return std::make_unique<FakeLink>(nccl_, found->second);
  }
  absl::StatusOr<std::byte*> Allocate(size_t bytes) override {
    absl::MutexLock lock(&nccl_.mutex_);
    return nccl_.memory_.emplace_back(new std::byte[bytes]()).get();
  }

 private:
  FakeNccl& nccl_;
};

std::unique_ptr<PairLinks> FakeNccl::MakeLinks() { return std::make_unique<FakeLinks>(*this); }

void FakeNccl::Hold(uint64_t after_pieces) {
  absl::MutexLock lock(&mutex_);
  holds_ = true;
  pieces_until_hold_ = after_pieces;
}

void FakeNccl::Freeze(uint64_t after_pieces) {
  Hold(after_pieces);
  absl::MutexLock lock(&mutex_);
  freezes_ = true;
}

void FakeNccl::Release() {
  absl::MutexLock lock(&mutex_);
  holds_ = freezes_ = held_ = false;
}

bool FakeNccl::MayLand() {
  if (!holds_) return true;
  if (pieces_until_hold_ > 0) return --pieces_until_hold_, true;
  held_ = true;
  if (!freezes_) return false;
  const auto thawed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !freezes_; };
  mutex_.Await(absl::Condition(&thawed));
  return true;
}

void FakeNccl::AwaitHeldPiece() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&held_));
}

void FakeNccl::RefuseToJoin() {
  absl::MutexLock lock(&mutex_);
  refuses_ = true;
}

int FakeNccl::live_links() const {
  absl::MutexLock lock(&mutex_);
  return live_;
}

}  // namespace baton::transfer::testing
