#include "services/router/placement/kv_index/prefix_search.h"

#include <algorithm>
#include <array>
#include <bit>

namespace baton::router {
namespace {

// kWords: words of the masks, at least as many as the numbers in use need.
template <int kWords>
class Search {
 public:
  using Mask = WorkerMask<kWords>;
  Search(const PrefixTree& tree, const WorkerNumbers& numbers, const WorkerNumbers::Alive& alive,
         std::span<const kv::BlockHash> prompt, KvMatches& matches)
      : tree_(tree), numbers_(numbers), prompt_(prompt), matches_(matches) {
    std::copy_n(alive.mask.begin(), alive.words, alive_.begin());
  }

  // The ends and both sides of the hint are looked up before any of them decides anything: four
  // waits for memory at a time.
  void Run(const BranchHints& hints) {
    const int32_t last = static_cast<int32_t>(prompt_.size()) - 1;
    const int32_t hint = hints.Of(prompt_[0]);
    const bool hinted = hint > 0 && hint <= last;
    tree_.Prefetch(prompt_[0]);
    tree_.Prefetch(prompt_[last]);
    if (hinted) {
      tree_.Prefetch(prompt_[hint - 1]);
      tree_.Prefetch(prompt_[hint]);
    }
    const BlockRecord* const first_record = tree_.Find(prompt_[0]);
    const BlockRecord* const last_record = tree_.Find(prompt_[last]);
    const BlockRecord* const before = hinted ? tree_.Find(prompt_[hint - 1]) : nullptr;
    const BlockRecord* const after = hinted ? tree_.Find(prompt_[hint]) : nullptr;
    const Mask first = HoldersOf(first_record, alive_);
    const Mask end = HoldersOf(last_record, first);
    Add(end, Mask{}, last + 1);
    if (hinted) {
      Mask right = HoldersOf(after, first);
      Include(right, end);
      Mask left = HoldersOf(before, first);
      Include(left, right);
      Open(0, first, hint - 1, left);
      Open(hint - 1, left, hint, right);
      Open(hint, right, last, end);
    } else {
      Open(0, first, last, end);
    }
    while (num_open_ > 0) num_open_ == 1 ? HalveOne() : HalveSome();
    if (parted_ > 0) hints.Set(prompt_[0], parted_);
  }

 private:
  // Blocks between which holders part.
  struct Span {
    int32_t low, high;
    Mask at_low, at_high;
    int32_t middle() const { return low + (high - low) / 2; }
  };
  // So many spans wait for memory together.
  static constexpr int kTogether = kWords <= 32 ? 8 : 2;
  // The newest are halved first, so of each length there are few.
  static constexpr int kOpenMax = kTogether * 33;

  static bool Equal(const Mask& a, const Mask& b) {
    uint64_t different = 0;
    for (int i = 0; i < kWords; ++i) different |= a[i] ^ b[i];
    return different == 0;
  }
  // Who was seen further on was there then, whatever has happened since.
  static void Include(Mask& mask, const Mask& further_on) {
    for (int i = 0; i < kWords; ++i) mask[i] |= further_on[i];
  }
  // Of `among`, those who hold the block and everything before it.
  static Mask HoldersOf(const BlockRecord* record, const Mask& among) {
    Mask mask{};
    if (record == nullptr) return mask;
    WorkerSets::LoadMembers<kWords>(record->holders, mask);
    for (int i = 0; i < kWords; ++i) mask[i] &= among[i];
    return mask;
  }

  // Who is in `at_low`, but not in `at_high`, has its last block between the two: here, or in a
  // span that waits.
  void Open(int32_t low, const Mask& at_low, int32_t high, const Mask& at_high) {
    if (high == low || Equal(at_low, at_high)) return;
    if (high - low == 1) {
      parted_ = parted_ == 0 ? high : std::min(parted_, high);
      return Add(at_low, at_high, high);
    }
    Span& span = open_[num_open_++];
    span.low = low;
    span.high = high;
    span.at_low = at_low;
    span.at_high = at_high;
    __builtin_prefetch(&prompt_[span.middle()]);
  }

  void HalveOne() {
    const Span span = open_[--num_open_];
    if (span.high - span.low >= 8) {
      // What comes next is one of these two; both are on their way while the middle is looked at.
      tree_.Prefetch(prompt_[span.low + (span.middle() - span.low) / 2]);
      tree_.Prefetch(prompt_[span.middle() + (span.high - span.middle()) / 2]);
    }
    Part(span, tree_.Find(prompt_[span.middle()]));
  }

  // The newest spans. One after the other would wait for memory three times each: for the slots,
  // the record, and the bitmaps of its holders.
  void HalveSome() {
    const int count = std::min(num_open_, kTogether);
    num_open_ -= count;
    std::array<Span, kTogether> spans;
    std::copy_n(open_.begin() + num_open_, count, spans.begin());
    std::array<const BlockRecord*, kTogether> middles;
    for (int i = 0; i < count; ++i) tree_.Prefetch(prompt_[spans[i].middle()]);
    for (int i = 0; i < count; ++i) middles[i] = tree_.Guess(prompt_[spans[i].middle()]);
    for (int i = 0; i < count; ++i) {
      middles[i] = tree_.Find(prompt_[spans[i].middle()], middles[i]);
      if (middles[i] != nullptr) WorkerSets::Prefetch(middles[i]->holders);
    }
    for (int i = 0; i < count; ++i) Part(spans[i], middles[i]);
  }

  void Part(const Span& span, const BlockRecord* middle) {
    Mask at_middle = HoldersOf(middle, span.at_low);
    Include(at_middle, span.at_high);
    Open(span.low, span.at_low, span.middle(), at_middle);
    Open(span.middle(), at_middle, span.high, span.at_high);
  }

  void Add(const Mask& mask, const Mask& without, int32_t blocks) {
    for (int i = 0; i < kWords; ++i) {
      for (uint64_t bits = mask[i] & ~without[i]; bits != 0; bits &= bits - 1) {
        const auto number = static_cast<WorkerNumber>(64 * i + std::countr_zero(bits));
        matches_.AddHeld(numbers_.OwnerOf(number), blocks);
      }
    }
  }

  const PrefixTree& tree_;
  const WorkerNumbers& numbers_;
  const std::span<const kv::BlockHash> prompt_;
  KvMatches& matches_;
  Mask alive_{};
  std::array<Span, kOpenMax> open_;
  int num_open_ = 0;
  int32_t parted_ = 0;  // blocks before the first place where holders part; 0: nowhere
};

}  // namespace

void SearchPrefix(const PrefixTree& tree, const WorkerNumbers& numbers, const BranchHints& hints,
                  std::span<const kv::BlockHash> prompt, KvMatches& matches) {
  if (prompt.empty()) return;
  WorkerNumbers::Alive alive;
  numbers.ReadAlive(alive);
  const auto search = [&]<int kWords>() {
    Search<kWords>(tree, numbers, alive, prompt, matches).Run(hints);
  };
  if (alive.words <= 1) return search.template operator()<1>();
  if (alive.words <= 4) return search.template operator()<4>();
  if (alive.words <= 16) return search.template operator()<16>();
  if (alive.words <= 32) return search.template operator()<32>();
  search.template operator()<kWorkerWordsMax>();
}

}  // namespace baton::router
