#include "common/model/load_ranks.h"

#include <mutex>
#include <optional>
#include <utility>

#include "common/model/rank_threads.h"

namespace baton::model {
namespace {

// What ranks have read, as one figure. Thread-safe.
class SumOfRanks {
 public:
  SumOfRanks(const LoadProgress& whole, size_t ranks) : whole_(whole), done_(ranks, 0) {}

  LoadProgress Of(size_t rank) {
    if (whole_ == nullptr) return nullptr;
    return [this, rank](int64_t done, int64_t total) { Report(rank, done, total); };
  }

 private:
  void Report(size_t rank, int64_t done, int64_t total) {
    const std::lock_guard lock(mutex_);
    sum_ += done - std::exchange(done_[rank], done);
    whole_(sum_, total * int64_t(done_.size()));
  }

  const LoadProgress& whole_;
  std::mutex mutex_;
  std::vector<int64_t> done_;  // of each rank
  int64_t sum_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Weights>> LoadRanks(const HfConfig& config, const WeightTypes& types,
                                               std::span<const RankDevice> ranks,
                                               const OpenWeights& open,
                                               const LoadProgress& progress) {
  const int32_t size = int32_t(ranks.size());
  SumOfRanks sum(progress, ranks.size());
  const auto load = [&](int32_t rank) -> absl::StatusOr<Weights> {
    ASSIGN_OR_RETURN(const std::unique_ptr<WeightSource> source, open());
    return LoadWeights(config, ShardOf(config, rank, size), *source, types,
                       *ranks[size_t(rank)].backend, sum.Of(size_t(rank)));
  };
  std::vector<std::optional<absl::StatusOr<Weights>>> loaded(ranks.size());
  RankThreads(size).Run([&](int32_t rank) { loaded[size_t(rank)] = load(rank); });
  std::vector<Weights> weights;
  for (std::optional<absl::StatusOr<Weights>>& of_rank : loaded) {
    RETURN_IF_ERROR(of_rank->status());
    weights.push_back(**std::move(of_rank));
  }
  return weights;
}

}  // namespace baton::model
