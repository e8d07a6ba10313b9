#include "services/router/placement/kv_index/reader_epochs.h"

// Why two epochs are enough: a visit is counted under the parity of an epoch it has read, perhaps
// an old one. Two advances check both parities, each with a read-modify-write. A visit counted
// before the check of its parity has ended by then, or the check would have failed; one counted
// after it is ordered behind the check, hence behind the unlinking, and cannot find the thing.
namespace baton::router {
namespace {

size_t StripeOfThisThread() {
  static std::atomic<size_t> threads = 0;
  static thread_local const size_t mine = threads.fetch_add(1, std::memory_order_relaxed);
  return mine;
}

}  // namespace

ReaderEpochs::Visit::Visit(const ReaderEpochs& epochs)
    : readers_(epochs.stripes_[StripeOfThisThread() % kStripes].readers[epochs.epoch() & 1]) {
  readers_.fetch_add(1, std::memory_order_acq_rel);
}

void ReaderEpochs::TryAdvance() {
  const uint64_t now = epoch();
  for (Stripe& stripe : stripes_) {
    if (stripe.readers[(now - 1) & 1].fetch_add(0, std::memory_order_acq_rel) != 0) return;
  }
  epoch_.store(now + 1, std::memory_order_release);
}

}  // namespace baton::router
