#include "kernels/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "kernels/check.h"
#include "kernels/sampling/mass.h"
#include "kernels/sampling/penalties.h"

// Sampling without sorting the vocabulary. Candidates fall into buckets of 1/16 nat; a bucket is
// sorted only when a boundary (of top-k, of top-p, of the draw) lies inside it. Masses are
// integers, so the bucket sums are exactly the sums over the sorted vocabulary.
namespace baton::kernels {
namespace {

struct Candidate {
  float logit;
  int32_t token;
  uint64_t mass;
};

// The order of the definition: falling probability, ties by rising id.
bool Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

class RankedCandidates {
 public:
  RankedCandidates(std::span<const float> logits, float largest, float temperature);

  size_t count() const { return count_; }
  uint64_t mass() const;
  // Keeps the first `count` candidates.
  void KeepCount(size_t count);
  // Keeps the fewest candidates whose mass is at least `mass` (and at least one).
  void KeepMass(uint64_t mass);
  // Keeps candidates of at least `floor` each.
  void KeepHeavierThan(uint64_t floor);
  // The candidate at `mass` of the way through.
  int32_t TokenAt(uint64_t mass);

 private:
  static constexpr int kBucketsPerNat = 16;
  static constexpr int kBuckets = 28 * kBucketsPerNat + 1;
  struct Bucket {
    size_t begin = 0, count = 0;
    uint64_t mass = 0;
    bool sorted = false;
  };

  static int BucketOf(float x) { return std::min(int(x * -kBucketsPerNat), kBuckets - 1); }
  std::span<Candidate> Sorted(Bucket& bucket);
  // Drops everything behind the first `count` of bucket `index`.
  void Truncate(size_t index, size_t count);

  std::vector<Candidate> candidates_;  // grouped by bucket
  std::array<Bucket, kBuckets> buckets_;
  size_t count_ = 0;
};

RankedCandidates::RankedCandidates(std::span<const float> logits, float largest,
                                   float temperature) {
  std::vector<std::pair<int32_t, int32_t>> found;  // token, bucket
  for (size_t i = 0; i < logits.size(); ++i) {
    const float x = (logits[i] - largest) / temperature;
    if (!(x > kMassFloor)) continue;
    const int bucket = BucketOf(x);
    found.emplace_back(int32_t(i), bucket);
    ++buckets_[bucket].count;
  }
  for (Bucket& bucket : buckets_) {
    bucket.begin = count_;
    count_ += bucket.count;
    bucket.count = 0;
  }
  candidates_.resize(count_);
  for (const auto& [token, index] : found) {
    Bucket& bucket = buckets_[index];
    const uint64_t mass = MassOf((logits[token] - largest) / temperature);
    candidates_[bucket.begin + bucket.count++] = {logits[token], token, mass};
    bucket.mass += mass;
  }
}

uint64_t RankedCandidates::mass() const {
  uint64_t sum = 0;
  for (const Bucket& bucket : buckets_) sum += bucket.mass;
  return sum;
}

std::span<Candidate> RankedCandidates::Sorted(Bucket& bucket) {
  const std::span<Candidate> all(candidates_.data() + bucket.begin, bucket.count);
  if (!bucket.sorted) std::sort(all.begin(), all.end(), Before);
  bucket.sorted = true;
  return all;
}

void RankedCandidates::Truncate(size_t index, size_t count) {
  const std::span<Candidate> kept = Sorted(buckets_[index]).first(count);
  buckets_[index].count = count;
  buckets_[index].mass = 0;
  for (const Candidate& candidate : kept) buckets_[index].mass += candidate.mass;
  for (size_t i = index + 1; i < buckets_.size(); ++i) buckets_[i].count = buckets_[i].mass = 0;
  count_ = 0;
  for (const Bucket& bucket : buckets_) count_ += bucket.count;
}

void RankedCandidates::KeepCount(size_t count) {
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (count < buckets_[i].count) return Truncate(i, count);
    count -= buckets_[i].count;
  }
}

void RankedCandidates::KeepMass(uint64_t mass) {
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i].mass < mass) {
      mass -= buckets_[i].mass;
      continue;
    }
    const std::span<Candidate> bucket = Sorted(buckets_[i]);
    if (bucket.empty()) continue;
    size_t kept = 1;
    for (uint64_t sum = bucket[0].mass; sum < mass; ++kept) sum += bucket[kept].mass;
    return Truncate(i, kept);
  }
}

void RankedCandidates::KeepHeavierThan(uint64_t floor) {
  for (size_t i = 0; i < buckets_.size(); ++i) {
    const std::span<Candidate> bucket = Sorted(buckets_[i]);
    for (size_t j = 0; j < bucket.size(); ++j) {
      if (bucket[j].mass < floor) return Truncate(i, j);
    }
  }
}

int32_t RankedCandidates::TokenAt(uint64_t mass) {
  for (Bucket& bucket : buckets_) {
    if (mass >= bucket.mass) {
      mass -= bucket.mass;
      continue;
    }
    for (const Candidate& candidate : Sorted(bucket)) {
      if (mass < candidate.mass) return candidate.token;
      mass -= candidate.mass;
    }
  }
  KERNELS_CHECK(false && "the draw lies beyond the mass of all candidates");
  return 0;
}

int32_t Draw(std::span<const float> logits, const SampleArgs& args) {
  const int32_t best = LargestLogit(logits);
  if (args.temperature == 0 || !std::isfinite(logits[best])) return best;
  RankedCandidates ranked(logits, logits[best], args.temperature);
  if (args.top_k > 0) ranked.KeepCount(size_t(args.top_k));
  if (args.top_p < 1) ranked.KeepMass(ShareOf(ranked.mass(), args.top_p));
  if (args.min_p > 0) ranked.KeepHeavierThan(ShareOf(MassOf(0), args.min_p));
  return ranked.TokenAt(ShareOf(ranked.mass(), UniformAt(args.seed, args.draw)));
}

double LogOfSum(std::span<const float> logits, float largest) {
  double sum = 0;
  for (float logit : logits) {
    const float x = logit - largest;
    if (x > -80) sum += double(ExpNonPositive(x));
  }
  return std::log(sum);
}

void ReportLogprobs(std::span<const float> logits, int32_t num_logprobs, SampledToken& result) {
  const float largest = logits[LargestLogit(logits)];
  const double log_of_sum = LogOfSum(logits, largest);
  const auto logprob = [&](int32_t id) { return float(double(logits[id]) - largest - log_of_sum); };
  result.logprob = logprob(result.token);
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i);
  const size_t count = std::min(size_t(num_logprobs), ids.size());
  std::partial_sort(
      ids.begin(), ids.begin() + ptrdiff_t(count), ids.end(),
      [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (size_t i = 0; i < count; ++i) result.top.push_back({ids[i], logprob(ids[i])});
}

}  // namespace

SampledToken SampleRow(std::span<float> logits, const SampleArgs& args) {
  ApplyPenalties(logits, args);
  SampledToken result;
  result.token = Draw(logits, args);
  if (args.num_logprobs >= 0) ReportLogprobs(logits, args.num_logprobs, result);
  return result;
}

}  // namespace baton::kernels
