#include "services/router/placement/kv_index/prefix_search.h"

#include <algorithm>
#include <bit>

namespace baton::router {
namespace {

// kWords: words of the masks, at least as many as the numbers in use need.
template <int kWords>
class Search {
 public:
  using Mask = WorkerMask<kWords>;
  Search(const PrefixTree& tree, const WorkerNumbers& numbers,
         std::span<const kv::BlockHash> prompt, KvMatches& matches)
      : tree_(tree), numbers_(numbers), prompt_(prompt), matches_(matches) {
    const int words = std::min(kWords, numbers_.words());
    for (int i = 0; i < words; ++i) alive_[i] = numbers_.alive_word(i);
  }

  void Run() {
    const int32_t last = static_cast<int32_t>(prompt_.size()) - 1;
    tree_.Prefetch(prompt_[last]);
    const Mask first = Probe(0, alive_);
    if (first == Mask{}) return;
    const Mask end = Probe(last, first);
    Add(end, Mask{}, last + 1);
    Between(0, first, last, end);
  }

 private:
  // Of `among`, those who hold the block and everything before it.
  Mask Probe(int32_t block, const Mask& among) const {
    Mask mask{};
    const BlockRecord* record = tree_.Find(prompt_[block]);
    if (record == nullptr) return mask;
    WorkerSets::LoadMembers<kWords>(record->holders, mask);
    for (int i = 0; i < kWords; ++i) mask[i] &= among[i];
    return mask;
  }

  // Finds the last block of everyone who is in `at_low`, but not in `at_high`.
  void Between(int32_t low, const Mask& at_low, int32_t high, const Mask& at_high) {
    if (at_low == at_high) return;
    if (high - low == 1) return Add(at_low, at_high, low + 1);
    const int32_t middle = low + (high - low) / 2;
    if (high - low >= 8) {
      // What comes next is one of these two; both are on their way while the middle is looked at.
      tree_.Prefetch(prompt_[low + (middle - low) / 2]);
      tree_.Prefetch(prompt_[middle + (high - middle) / 2]);
    }
    Mask at_middle = Probe(middle, at_low);
    // Who was seen at the end was there then, whatever has happened since.
    for (int i = 0; i < kWords; ++i) at_middle[i] |= at_high[i];
    Between(low, at_low, middle, at_middle);
    Between(middle, at_middle, high, at_high);
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
};

}  // namespace

void SearchPrefix(const PrefixTree& tree, const WorkerNumbers& numbers,
                  std::span<const kv::BlockHash> prompt, KvMatches& matches) {
  if (prompt.empty()) return;
  const int words = numbers.words();
  if (words <= 1) return Search<1>(tree, numbers, prompt, matches).Run();
  if (words <= 4) return Search<4>(tree, numbers, prompt, matches).Run();
  if (words <= 16) return Search<16>(tree, numbers, prompt, matches).Run();
  if (words <= 32) return Search<32>(tree, numbers, prompt, matches).Run();
  Search<kWorkerWordsMax>(tree, numbers, prompt, matches).Run();
}

}  // namespace baton::router
