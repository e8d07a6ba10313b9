#pragma once

#include <atomic>
#include <cstdint>

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
#endif

namespace baton::router {

// A cache line of a hash table's slots, searched at once. A slot: record id in the low half, tag in
// the high half; zero is empty, id 0 with some tag is free but searches go on past its line.
using Slot = std::atomic<uint64_t>;
inline constexpr uint32_t kSlotsInLine = 8;

// What a line was seen to hold, a bit per slot. Slots may have changed since: whoever follows one
// reads it again.
struct SlotLine {
  uint32_t tag;    // this tag
  uint32_t free;   // no record
  uint32_t empty;  // nothing at all
};

// One slot after the other: what ScanLine must see too.
inline SlotLine ScanLineBySlots(const Slot* line, uint32_t tag) {
  SlotLine seen = {};
  for (uint32_t i = 0; i < kSlotsInLine; ++i) {
    const uint64_t slot = line[i].load(std::memory_order_relaxed);
    seen.tag |= static_cast<uint32_t>(slot >> 32 == tag) << i;
    seen.free |= static_cast<uint32_t>(static_cast<uint32_t>(slot) == 0) << i;
    seen.empty |= static_cast<uint32_t>(slot == 0) << i;
  }
  return seen;
}

#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)

// Four loads of two slots each; the processor reads each slot whole, which the language does not
// promise: ThreadSanitizer gets the other one.
inline SlotLine ScanLine(const Slot* line, uint32_t tag) {
  const auto* const from = reinterpret_cast<const __m128*>(line);
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
  const __m128i zero = _mm_setzero_si128();
  SlotLine seen = {};
  for (int half = 0; half < 2; ++half) {
    const __m128 a = _mm_load_ps(reinterpret_cast<const float*>(from + 2 * half));
    const __m128 b = _mm_load_ps(reinterpret_cast<const float*>(from + 2 * half + 1));
    const __m128i ids = _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
    const __m128i tags = _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
    const __m128i no_id = _mm_cmpeq_epi32(ids, zero);
    const __m128i nothing = _mm_and_si128(no_id, _mm_cmpeq_epi32(tags, zero));
    const auto bits = [half](__m128i lanes) {
      return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(lanes))) << (4 * half);
    };
    seen.tag |= bits(_mm_cmpeq_epi32(tags, wanted));
    seen.free |= bits(no_id);
    seen.empty |= bits(nothing);
  }
  return seen;
}

#else

inline SlotLine ScanLine(const Slot* line, uint32_t tag) { return ScanLineBySlots(line, tag); }

#endif

}  // namespace baton::router
