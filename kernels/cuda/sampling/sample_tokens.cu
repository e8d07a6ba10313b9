#include "kernels/cuda/sampling/sample_tokens.h"

#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/atomics.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warp.cuh"
#include "kernels/cuda/sampling/mass.cuh"
#include "kernels/cuda/sampling/penalties.cuh"
#include "kernels/cuda/sampling/philox.cuh"
#include "kernels/cuda/sampling/sample_tokens_shape.h"

// One block of threads takes one row. Nothing is sorted: every question (which token is the k-th,
// at which does the mass reach top_p, on which does the draw fall) asks for the token that lies at
// some place when the tokens, in order of falling probability, are laid end to end. It is found by
// counting tokens into bins, first by 1/16 nat of probability, then, while the bin in question
// holds too many, by nine bits of their keys at a time; the few that are left are compared with
// each other. Masses are integers (mass.cuh): the token is the host's, exactly.
namespace baton::kernels::cuda {
namespace {

using Shape = SampleTokensShape;

// Larger for what comes earlier: a larger logit, then a lower id. NaN comes last.
BATON_DEVICE uint64_t KeyOf(float logit, uint32_t id) {
  const uint32_t bits = BitsOf(RoundedSum(logit, 0.0f));  // there is one zero
  const uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{logit == logit ? order : 0} << 32 | ~id;
}
BATON_DEVICE uint32_t IdOf(uint64_t key) { return ~uint32_t(key); }

BATON_DEVICE bool IsFinite(float x) { return (BitsOf(x) & 0x7f800000u) != 0x7f800000u; }

struct Largest {
  BATON_DEVICE uint64_t operator()(uint64_t a, uint64_t b) const { return a > b ? a : b; }
};
struct Sum {
  BATON_DEVICE uint64_t operator()(uint64_t a, uint64_t b) const { return a + b; }
};

// What is added up on the way through the tokens.
enum class Weight { kCount, kMass };

class RankedTokens {
 public:
  BATON_DEVICE RankedTokens(const Global<float>& logits, uint32_t vocabulary)
      : logits_(logits),
        vocabulary_(vocabulary),
        masses_(arena_.Take<uint64_t>(Shape::kBins)),
        counts_(arena_.Take<uint32_t>(Shape::kBins)),
        few_keys_(arena_.Take<uint64_t>(Shape::kCandidates)),
        few_masses_(arena_.Take<uint64_t>(Shape::kCandidates)),
        scratch_(arena_.Take<uint64_t>(Shape::kScratch)),
        found_(arena_.Take<uint64_t>(2)),
        num_few_(arena_.Take<uint32_t>(1)) {}

  // The first token's.
  BATON_DEVICE uint64_t LargestKey() {
    uint64_t key = 0;
    for (uint32_t id = ThreadIndex(); id < vocabulary_; id += BlockThreads()) {
      key = Largest()(key, KeyOf(logits_[id], id));
    }
    return Reduce(key, Largest());
  }

  // Masses are relative to the first token's logit. Comes before the calls below.
  BATON_DEVICE void SetScale(float largest, float temperature) {
    largest_ = largest;
    temperature_ = temperature;
  }

  // Drops the tokens behind this one.
  BATON_DEVICE void KeepTo(uint64_t key) { last_ = Largest()(last_, key); }
  // Drops the first token that is lighter, and all behind it.
  BATON_DEVICE void KeepHeavierThan(uint64_t floor) {
    uint64_t light = 0;
    LookAtAll();
    ForEach([&](uint64_t key, float x) {
      if (MassOf(x) < floor) light = Largest()(light, key);
    });
    light = Reduce(light, Largest());
    if (light > 0) last_ = light + 1;
  }

  // Counts what is kept, for Mass() and KeyAt().
  BATON_DEVICE void Count() {
    LookAtAll();
    CountPart();
  }
  BATON_DEVICE uint64_t Mass() {
    uint64_t mass = 0;
    for (uint32_t i = ThreadIndex(); i < Shape::kBins; i += BlockThreads()) {
      mass += uint64_t(masses_[i]);
    }
    return Reduce(mass, Sum());
  }
  // The token in which place `at` lies; 0 when the tokens end before. Count() again after it.
  BATON_DEVICE uint64_t KeyAt(Weight weight, uint64_t at) {
    for (;;) {
      Find(weight, at);
      const uint64_t bin = found_[0];
      if (bin == Shape::kBins) return 0;
      at -= uint64_t(found_[1]);
      Narrow(uint32_t(bin));
      if (uint32_t(counts_[bin]) <= Shape::kCandidates) return KeyAmongFew(weight, at);
      CountPart();
    }
  }

 private:
  static constexpr uint32_t kAnyBucket = ~0u;
  static constexpr uint32_t kDigitBits = 9;
  static_assert(1u << kDigitBits == Shape::kBins && 28 * 16 < Shape::kBins);

  BATON_DEVICE void LookAtAll() {
    bucket_ = kAnyBucket;
    shift_ = 64;
    prefix_ = 0;
  }

  // The tokens of the part that are kept and have a mass to speak of.
  template <typename Visit>
  BATON_DEVICE void ForEach(Visit visit) const {
    for (uint32_t id = ThreadIndex(); id < vocabulary_; id += BlockThreads()) {
      const float logit = logits_[id];
      const float x = RoundedQuotient(RoundedSum(logit, -largest_), temperature_);
      const uint64_t key = KeyOf(logit, id);
      if (x > kMassFloor && key >= last_ && IsInPart(key, x)) visit(key, x);
    }
  }
  BATON_DEVICE static uint32_t BucketOf(float x) { return uint32_t(RoundedProduct(x, -16.0f)); }
  BATON_DEVICE bool IsInPart(uint64_t key, float x) const {
    if (bucket_ == kAnyBucket) return true;
    return BucketOf(x) == bucket_ && (shift_ == 64 || key >> shift_ == prefix_);
  }

  // Bins of the part; earlier tokens come into lower ones.
  BATON_DEVICE uint32_t BinOf(uint64_t key, float x) const {
    if (bucket_ == kAnyBucket) return BucketOf(x);
    return Shape::kBins - 1 - uint32_t(key >> (shift_ - kDigitBits)) % Shape::kBins;
  }
  BATON_DEVICE void Narrow(uint32_t bin) {
    if (bucket_ == kAnyBucket) {
      bucket_ = bin;
    } else {
      shift_ -= kDigitBits;
      prefix_ = prefix_ << kDigitBits | (Shape::kBins - 1 - bin);
    }
  }
  BATON_DEVICE void CountPart() {
    SyncBlock();  // nobody reads the last count any more
    for (uint32_t i = ThreadIndex(); i < Shape::kBins; i += BlockThreads()) {
      masses_[i] = 0;
      counts_[i] = 0;
    }
    SyncBlock();  // all bins are empty
    ForEach([&](uint64_t key, float x) {
      const uint32_t bin = BinOf(key, x);
      AtomicAdd(masses_, bin, MassOf(x));
      AtomicAdd(counts_, bin, 1u);
    });
    SyncBlock();  // all tokens are counted
  }

  // The bin in which place `at` lies, and the weight before it: one warp, a run of bins per lane.
  BATON_DEVICE void Find(Weight weight, uint64_t at) {
    constexpr uint32_t kRun = Shape::kBins / kWarpLanes;
    if (WarpIndex() == 0) {
      const uint32_t first = LaneIndex() * kRun;
      uint64_t run = 0;
      for (uint32_t i = 0; i < kRun; ++i) run += WeightOfBin(weight, first + i);
      uint64_t end = run;
      for (uint32_t step = 1; step < kWarpLanes; step *= 2) {
        const bool is_behind = LaneIndex() >= step;
        const uint64_t before = ShuffleFrom(end, is_behind ? LaneIndex() - step : LaneIndex());
        if (is_behind) end += before;
      }
      uint64_t before = end - run;
      if (LaneIndex() == kWarpLanes - 1 && at >= end) found_[0] = Shape::kBins;
      if (before <= at && at < end) {
        uint32_t bin = first;
        for (; at - before >= WeightOfBin(weight, bin); ++bin) before += WeightOfBin(weight, bin);
        found_[0] = bin;
        found_[1] = before;
      }
    }
    SyncBlock();  // the bin is found
  }
  BATON_DEVICE uint64_t WeightOfBin(Weight weight, uint32_t bin) const {
    return weight == Weight::kMass ? uint64_t(masses_[bin]) : uint32_t(counts_[bin]);
  }

  // The same among the part's tokens, which are kCandidates at most.
  BATON_DEVICE uint64_t KeyAmongFew(Weight weight, uint64_t at) {
    if (ThreadIndex() == 0) num_few_[0] = 0;
    SyncBlock();  // the list is empty, and found_ is read
    ForEach([&](uint64_t key, float x) {
      const uint32_t i = AtomicAdd(num_few_, 0, 1u);
      few_keys_[i] = key;
      few_masses_[i] = weight == Weight::kMass ? MassOf(x) : 1;
    });
    SyncBlock();  // the list is complete
    const uint32_t few = num_few_[0];
    for (uint32_t i = ThreadIndex(); i < few; i += BlockThreads()) {
      const uint64_t key = few_keys_[i];
      uint64_t before = 0;
      for (uint32_t j = 0; j < few; ++j) {
        if (uint64_t(few_keys_[j]) > key) before += uint64_t(few_masses_[j]);
      }
      if (before <= at && at - before < uint64_t(few_masses_[i])) found_[0] = key;
    }
    SyncBlock();  // the token is found
    return found_[0];
  }

  // Over the block; the same in all threads.
  template <typename Operation>
  BATON_DEVICE uint64_t Reduce(uint64_t value, Operation operation) {
    BATON_UNROLL
    for (uint32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
      value = operation(value, ShuffleXor(value, mask));
    }
    SyncBlock();  // scratch is free
    if (LaneIndex() == 0) scratch_[WarpIndex()] = value;
    SyncBlock();  // all warps' values are there
    value = scratch_[0];
    for (uint32_t warp = 1; warp < BlockThreads() / kWarpLanes; ++warp) {
      value = operation(value, scratch_[warp]);
    }
    return value;
  }

  SharedArena arena_;
  Global<float> logits_;
  const uint32_t vocabulary_;
  float largest_ = 0, temperature_ = 1;
  uint64_t last_ = 0;             // the key of the last token that is kept
  uint32_t bucket_ = kAnyBucket;  // the part looked at: of this bucket,
  uint32_t shift_ = 64;           // with these bits of the key from this one up
  uint64_t prefix_ = 0;
  Shared<uint64_t> masses_;  // of bins
  Shared<uint32_t> counts_;
  Shared<uint64_t> few_keys_, few_masses_;  // of the few left
  Shared<uint64_t> scratch_;                // a value per warp
  Shared<uint64_t> found_;                  // a bin and what lies before it; a key
  Shared<uint32_t> num_few_;
};

// Step 5 of kernels/sampling.h.
BATON_DEVICE uint32_t Draw(const SampleRow& row, const Global<float>& logits, uint32_t vocabulary) {
  RankedTokens tokens(logits, vocabulary);
  const uint32_t best = IdOf(tokens.LargestKey());
  const float largest = logits[best];
  if (row.temperature == 0 || !IsFinite(largest)) return best;
  tokens.SetScale(largest, row.temperature);
  if (row.top_k > 0) {
    tokens.Count();
    tokens.KeepTo(tokens.KeyAt(Weight::kCount, uint64_t(row.top_k) - 1));
  }
  if (row.top_p < 1) {
    tokens.Count();
    const uint64_t enough = Largest()(ShareOf(tokens.Mass(), row.top_p), 1);
    tokens.KeepTo(tokens.KeyAt(Weight::kMass, enough - 1));
  }
  if (row.min_p > 0) tokens.KeepHeavierThan(ShareOf(MassOf(0), row.min_p));
  tokens.Count();
  const uint64_t at = ShareOf(tokens.Mass(), UniformAt(row.seed, row.draw));
  return IdOf(tokens.KeyAt(Weight::kMass, at));
}

BATON_KERNEL(Shape::kThreadsMax)
void SampleTokensKernel(SampleTokensArgs args) {
  const Global<const SampleRow> rows(args.rows);
  const SampleRow row = rows[BlockX()], next = rows[BlockX() + 1];
  const uint32_t vocabulary = uint32_t(args.vocabulary);
  const Global<float> logits(args.logits + size_t(row.row) * vocabulary);
  Penalties(args, row, next, logits).Apply();
  const uint32_t token = Draw(row, logits, vocabulary);
  if (ThreadIndex() == 0) Global<int32_t>(args.tokens)[BlockX()] = int32_t(token);
}

}  // namespace

Error Launch(const SampleTokensArgs& args, const LaunchShape& shape, Stream stream) {
  return LaunchKernel("sample_tokens", SampleTokensKernel, shape, stream, args);
}

}  // namespace baton::kernels::cuda
