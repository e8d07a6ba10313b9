#include "services/router/placement/kv_index/kv_index.h"

#include <algorithm>

#include "services/router/placement/kv_index/prefix_search.h"

namespace baton::router {
namespace {

// Asking all readers whether they have left is worth it for so many records.
constexpr size_t kUnlinkedMin = 512;

}  // namespace

KvIndex::KvIndex(const Options& options)
    : options_(options),
      tree_(options.blocks_max, epochs_),
      numbers_(epochs_),
      expected_(options.expected_slots) {}

KvSeat KvIndex::Join() {
  absl::MutexLock lock(&mutex_);
  KvSeat seat{.index = static_cast<uint32_t>(streams_.size()), .serial = next_serial_++};
  if (free_seats_.empty()) {
    streams_.emplace_back();
  } else {
    seat.index = free_seats_.back();
    free_seats_.pop_back();
  }
  Reclaim();
  // Without a number (thousands of workers) it is served all the same, only not by its cache.
  Stream& stream =
      streams_[seat.index] = {.serial = seat.serial, .number = numbers_.TakeHidden(seat)};
  if (stream.number) numbers_.Show(*stream.number);
  return seat;
}

void KvIndex::Leave(const KvSeat& seat) {
  absl::MutexLock lock(&mutex_);
  Stream* stream = StreamOf(seat);
  if (stream == nullptr) return;
  Retire(*stream);
  *stream = {};
  free_seats_.push_back(seat.index);
}

KvIndex::Outcome KvIndex::Apply(const KvSeat& seat, const engine::KvEvents& events) {
  absl::MutexLock lock(&mutex_);
  Stream* stream = StreamOf(seat);
  if (stream == nullptr) return Outcome::kIgnored;
  if (!events.snapshot && stream->awaits_snapshot) return Outcome::kIgnored;
  if (!events.snapshot && events.number != std::max<uint64_t>(stream->next_event, 1)) {
    // Also a stream that begins in the middle: what came before is unknown.
    stream->awaits_snapshot = true;
    return Outcome::kGap;
  }
  stream->next_event = events.number + 1;
  stream->awaits_snapshot = false;
  Reclaim();
  std::optional<WorkerNumber> number = stream->number;
  // A new picture is painted under a new number, which readers see when it is finished.
  const bool repaint = events.snapshot && (stream->touched || !number);
  if (repaint) number = numbers_.TakeHidden(seat);
  if (!number) {
    Retire(*stream);
    stream->number.reset();
    return Outcome::kApplied;
  }
  // Removed first: within one step a block may be evicted and computed anew.
  tree_.Drop(*number, events.removed);
  tree_.Store(*number, events.stored);
  if (repaint) {
    numbers_.Show(*number);
    Retire(*stream);
    stream->number = number;
  }
  stream->touched = true;
  return Outcome::kApplied;
}

void KvIndex::Match(std::span<const kv::BlockHash> prompt, absl::Duration now,
                    KvMatches& matches) const {
  matches.Clear();
  {
    const ReaderEpochs::Visit visit(epochs_);
    SearchPrefix(tree_, numbers_, hints_, prompt, matches);
  }
  expected_.Find(prompt, now, matches);
}

bool KvIndex::Tidy(size_t records_max) {
  for (size_t done = 0; done < records_max; done += options_.sweep_records_per_lock) {
    absl::MutexLock lock(&mutex_);
    Reclaim();
    const auto* gone = numbers_.Sweeping();
    if (gone == nullptr) return numbers_.Untidy();
    tree_.Sweep(*gone, options_.sweep_records_per_lock, &sweep_next_);
    if (sweep_next_ == 0) numbers_.EndSweep();
  }
  return true;
}

size_t KvIndex::blocks_of(const KvSeat& seat) const {
  absl::MutexLock lock(&mutex_);
  if (seat.index >= streams_.size() || streams_[seat.index].serial != seat.serial) return 0;
  const std::optional<WorkerNumber> number = streams_[seat.index].number;
  return number ? tree_.blocks_of(*number) : 0;
}

KvIndex::Counters KvIndex::counters() const {
  absl::MutexLock lock(&mutex_);
  return {.blocks = tree_.num_blocks(),
          .orphans = tree_.orphans(),
          .refused = tree_.refused(),
          .bytes = tree_.bytes()};
}

KvIndex::Stream* KvIndex::StreamOf(const KvSeat& seat) {
  if (seat.serial == 0 || seat.index >= streams_.size()) return nullptr;
  Stream& stream = streams_[seat.index];
  return stream.serial == seat.serial ? &stream : nullptr;
}

void KvIndex::Retire(Stream& stream) {
  if (!stream.number) return;
  numbers_.Retire(*stream.number);
  tree_.DropOrphans(*stream.number);
}

void KvIndex::Reclaim() {
  if (tree_.unlinked() < kUnlinkedMin && !numbers_.Untidy()) return;
  epochs_.TryAdvance();
  tree_.Reclaim();
  numbers_.Reclaim();
}

}  // namespace baton::router
