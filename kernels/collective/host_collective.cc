#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>

#include "kernels/check.h"
#include "kernels/collective.h"

// An operation is two meetings of all ranks with the work between them:
//
//   lay down what I have -> Enter() -> work on everybody's memory -> Leave() -> return
//
// Enter() is where a rank may be missing, and so where an abort is answered. Whoever has entered
// reads and writes the others' memory, so nobody returns before all have left: Leave() cannot be
// aborted, and need not be, because between the two there is only arithmetic.
namespace baton::kernels {
namespace {

class HostGroup {
 public:
  // What one rank brings to an operation.
  struct Offer {
    const void* from = nullptr;
    void* to = nullptr;
    size_t count = 0;
  };

  explicit HostGroup(int32_t size) : size_(size), offers_(size_t(size)) {}

  int32_t size() const { return size_; }
  // Of the operation under way: between Enter() and Leave().
  const Offer& offer(int32_t rank) const { return offers_[size_t(rank)]; }

  [[nodiscard]] bool Enter(int32_t rank, const Offer& mine) {
    std::unique_lock lock(mutex_);
    if (!failure_.empty()) return false;
    offers_[size_t(rank)] = mine;
    const uint64_t meeting = meeting_;
    if (Arrive()) return true;
    changed_.wait(lock, [&] { return meeting_ != meeting || !failure_.empty(); });
    return meeting_ != meeting;
  }

  void Leave() {
    std::unique_lock lock(mutex_);
    const uint64_t meeting = meeting_;
    if (Arrive()) return;
    changed_.wait(lock, [&] { return meeting_ != meeting; });
  }

  void Abort(std::string why) {
    const std::scoped_lock lock(mutex_);
    if (failure_.empty()) failure_ = why.empty() ? "aborted" : std::move(why);
    changed_.notify_all();
  }

  std::string failure() const {
    const std::scoped_lock lock(mutex_);
    return failure_;
  }

 private:
  // With mutex_ held. True: everybody is here now.
  bool Arrive() {
    if (++arrived_ < size_) return false;
    arrived_ = 0;
    ++meeting_;
    changed_.notify_all();
    return true;
  }

  const int32_t size_;
  // Written with mutex_ held, read by everybody between two meetings.
  std::vector<Offer> offers_;
  mutable std::mutex mutex_;  // the rest
  std::condition_variable changed_;
  int32_t arrived_ = 0;
  uint64_t meeting_ = 0;  // number of the next one
  std::string failure_;
};

class HostCollective final : public Collective {
 public:
  HostCollective(int32_t rank, std::shared_ptr<HostGroup> group)
      : rank_(rank), group_(std::move(group)) {}

  std::string name() const override { return "host"; }
  int32_t rank() const override { return rank_; }
  int32_t size() const override { return group_->size(); }

  bool AllReduceSum(float* data, size_t count) override {
    if (!Enter({.from = data, .to = data, .count = count})) return false;
    // Each rank sums one part of the elements, for everybody.
    const size_t begin = count * size_t(rank_) / size_t(size());
    const size_t end = count * (size_t(rank_) + 1) / size_t(size());
    for (size_t at = begin; at < end; at += kPiece) SumPiece(at, std::min(kPiece, end - at));
    group_->Leave();
    return true;
  }

  bool AllGather(const void* mine, size_t bytes, void* all) override {
    if (!Enter({.from = mine, .to = all, .count = bytes})) return false;
    for (int32_t r = 0; r < size(); ++r) {
      std::memcpy(static_cast<std::byte*>(all) + size_t(r) * bytes, group_->offer(r).from, bytes);
    }
    group_->Leave();
    return true;
  }

  bool Broadcast(void* data, size_t bytes, int32_t root) override {
    KERNELS_CHECK(root >= 0 && root < size());
    if (!Enter({.from = data, .to = data, .count = bytes})) return false;
    if (rank_ != root) std::memcpy(data, group_->offer(root).from, bytes);
    group_->Leave();
    return true;
  }

  void Abort(std::string why) override { group_->Abort(std::move(why)); }
  std::string failure() const override { return group_->failure(); }

 private:
  static constexpr size_t kPiece = 1024;  // floats that stay in the first cache

  bool Enter(const HostGroup::Offer& mine) {
    if (!group_->Enter(rank_, mine)) return false;
    for (int32_t r = 0; r < size(); ++r) KERNELS_CHECK(group_->offer(r).count == mine.count);
    return true;
  }

  void SumPiece(size_t at, size_t count) {
    float sum[kPiece];
    std::copy_n(static_cast<const float*>(group_->offer(0).from) + at, count, sum);
    for (int32_t r = 1; r < size(); ++r) {
      const float* data = static_cast<const float*>(group_->offer(r).from) + at;
      for (size_t i = 0; i < count; ++i) sum[i] += data[i];
    }
    for (int32_t r = 0; r < size(); ++r) {
      std::copy_n(sum, count, static_cast<float*>(group_->offer(r).to) + at);
    }
  }

  const int32_t rank_;
  const std::shared_ptr<HostGroup> group_;
};

}  // namespace

std::vector<std::unique_ptr<Collective>> MakeHostCollectives(int32_t size) {
  KERNELS_CHECK(size >= 1);
  const auto group = std::make_shared<HostGroup>(size);
  std::vector<std::unique_ptr<Collective>> ranks;
  for (int32_t r = 0; r < size; ++r) ranks.push_back(std::make_unique<HostCollective>(r, group));
  return ranks;
}

}  // namespace baton::kernels
