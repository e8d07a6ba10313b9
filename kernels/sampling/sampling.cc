#include "kernels/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "kernels/check.h"
#include "kernels/sampling/mass.h"
#include "kernels/sampling/penalties.h"

// Sampling without sorting the vocabulary. Tokens are counted into buckets of 1/16 nat; a bucket's
// tokens are gathered and sorted only when a boundary (of top-k, of top-p, of the draw) lies inside
// it. Masses are integers, so the bucket sums are exactly the sums over the sorted vocabulary.
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

class RankedTokens {
 public:
  RankedTokens(std::span<const float> logits, float largest, float temperature);

  uint64_t mass() const;
  // Keeps the first `count` tokens.
  void KeepCount(size_t count);
  // Keeps the fewest tokens whose mass is at least `mass` (and at least one).
  void KeepMass(uint64_t mass);
  // Keeps tokens of at least `floor` each.
  void KeepHeavierThan(uint64_t floor);
  // The token at `mass` of the way through.
  int32_t TokenAt(uint64_t mass);

 private:
  static constexpr int kBucketsPerNat = 16;
  static constexpr int kBuckets = 28 * kBucketsPerNat;  // down to kMassFloor
  static constexpr size_t kLanes = 256;  // a vocabulary is padded to whole runs of these
  struct Bucket {
    size_t count = 0;
    uint64_t mass = 0;
    std::vector<Candidate> sorted;  // empty until gathered
  };

  static int BucketOf(float x) { return int(x * -kBucketsPerNat); }
  void CountLanes(const float* x);
  const std::vector<Candidate>& Sorted(int index);
  // Drops everything behind the first `count` of bucket `index`.
  void Truncate(int index, size_t count);

  std::span<const float> logits_;
  std::vector<float> x_;  // (logit - largest) / temperature, padded to whole lanes
  std::array<Bucket, kBuckets + 1> buckets_;  // and one for the floor, empty
};

RankedTokens::RankedTokens(std::span<const float> logits, float largest, float temperature)
    : logits_(logits), x_((logits.size() + kLanes - 1) / kLanes * kLanes, kMassFloor) {
  for (size_t i = 0; i < logits.size(); ++i) x_[i] = (logits[i] - largest) / temperature;
  for (size_t i = 0; i < x_.size(); i += kLanes) CountLanes(x_.data() + i);
  buckets_[kBuckets] = Bucket();  // what lies at the floor has no mass
}

void RankedTokens::CountLanes(const float* x) {
  float weights[kLanes];
  int32_t indices[kLanes];
  for (size_t i = 0; i < kLanes; ++i) {  // a loop of its own, which compilers vectorise
    const float y = x[i] > kMassFloor ? x[i] : kMassFloor;  // also NaN
    weights[i] = ExpNonPositive(y);
    indices[i] = int32_t(y * -kBucketsPerNat);
  }
  for (size_t i = 0; i < kLanes; ++i) {
    Bucket& bucket = buckets_[size_t(indices[i])];
    ++bucket.count;
    bucket.mass += MassOfWeight(weights[i]);
  }
}

uint64_t RankedTokens::mass() const {
  uint64_t sum = 0;
  for (const Bucket& bucket : buckets_) sum += bucket.mass;
  return sum;
}

const std::vector<Candidate>& RankedTokens::Sorted(int index) {
  Bucket& bucket = buckets_[size_t(index)];
  if (bucket.sorted.size() == bucket.count) return bucket.sorted;
  bucket.sorted.reserve(bucket.count);
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (!(x_[i] > kMassFloor) || BucketOf(x_[i]) != index) continue;
    bucket.sorted.push_back({logits_[i], int32_t(i), MassOf(x_[i])});
  }
  std::sort(bucket.sorted.begin(), bucket.sorted.end(), Before);
  return bucket.sorted;
}

void RankedTokens::Truncate(int index, size_t count) {
  Sorted(index);
  Bucket& last = buckets_[size_t(index)];
  last.sorted.resize(count);
  last.count = count;
  last.mass = 0;
  for (const Candidate& candidate : last.sorted) last.mass += candidate.mass;
  for (int i = index + 1; i < kBuckets; ++i) buckets_[size_t(i)] = Bucket();
}

void RankedTokens::KeepCount(size_t count) {
  for (int i = 0; i < kBuckets; ++i) {
    if (count < buckets_[size_t(i)].count) return Truncate(i, count);
    count -= buckets_[size_t(i)].count;
  }
}

void RankedTokens::KeepMass(uint64_t mass) {
  for (int i = 0; i < kBuckets; ++i) {
    const Bucket& bucket = buckets_[size_t(i)];
    if (bucket.mass < mass || bucket.count == 0) {
      mass -= bucket.mass;
      continue;
    }
    const std::vector<Candidate>& sorted = Sorted(i);
    size_t kept = 1;
    for (uint64_t sum = sorted[0].mass; sum < mass; ++kept) sum += sorted[kept].mass;
    return Truncate(i, kept);
  }
}

void RankedTokens::KeepHeavierThan(uint64_t floor) {
  for (int i = 0; i < kBuckets; ++i) {
    // A bucket that ends well above the floor needs no look inside.
    const float lightest = float(i + 2) * (-1.0f / kBucketsPerNat);
    if (MassOf(lightest) > floor) continue;
    const std::vector<Candidate>& sorted = Sorted(i);
    for (size_t j = 0; j < sorted.size(); ++j) {
      if (sorted[j].mass < floor) return Truncate(i, j);
    }
  }
}

int32_t RankedTokens::TokenAt(uint64_t mass) {
  for (int i = 0; i < kBuckets; ++i) {
    if (mass >= buckets_[size_t(i)].mass) {
      mass -= buckets_[size_t(i)].mass;
      continue;
    }
    for (const Candidate& candidate : Sorted(i)) {
      if (mass < candidate.mass) return candidate.token;
      mass -= candidate.mass;
    }
  }
  KERNELS_CHECK(false && "the draw lies beyond the mass of all tokens");
  return 0;
}

int32_t Draw(std::span<const float> logits, const SampleArgs& args) {
  const int32_t best = LargestLogit(logits);
  if (args.temperature == 0 || !std::isfinite(logits[best])) return best;
  RankedTokens ranked(logits, logits[best], args.temperature);
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

// The `count` largest, falling, ties by rising id. One pass with a short sorted list: count is a
// few, and prompts ask for this at every position.
std::vector<int32_t> LargestIds(std::span<const float> logits, size_t count) {
  std::vector<int32_t> ids;
  if (count == 0) return ids;
  ids.reserve(count);
  const auto larger = [&](int32_t a, int32_t b) { return logits[a] > logits[b]; };
  for (int32_t id = 0; id < int32_t(logits.size()); ++id) {
    if (ids.size() == count) {
      if (!larger(id, ids.back())) continue;
      ids.pop_back();
    }
    ids.insert(std::upper_bound(ids.begin(), ids.end(), id, larger), id);
  }
  return ids;
}

void ReportLogprobs(std::span<const float> logits, int32_t num_logprobs, SampledToken& result) {
  const float largest = logits[LargestLogit(logits)];
  const double log_of_sum = LogOfSum(logits, largest);
  const auto logprob = [&](int32_t id) { return float(double(logits[id]) - largest - log_of_sum); };
  result.logprob = logprob(result.token);
  for (const int32_t id : LargestIds(logits, size_t(num_logprobs))) {
    result.top.push_back({id, logprob(id)});
  }
}

}  // namespace

SampledToken SampleRow(std::span<float> logits, const SampleArgs& args) {
  ApplyPenalties(logits, args);
  SampledToken result;
  result.token = args.given >= 0 ? args.given : Draw(logits, args);
  if (args.num_logprobs >= 0) ReportLogprobs(logits, args.num_logprobs, result);
  return result;
}

}  // namespace baton::kernels
