#include "services/router/placement/kv_index/slot_line.h"

#include <gtest/gtest.h>

#include <random>

namespace baton::router {
namespace {

TEST(SlotLine, SeesWhatLookingAtEachSlotSees) {
  std::mt19937_64 random(1);
  alignas(64) Slot line[kSlotsInLine];
  for (int round = 0; round < 20000; ++round) {
    const auto tag = static_cast<uint32_t>(random() % 3);
    for (Slot& slot : line) {
      // Few values, so that tags meet, zero tags with records and given-up slots among them.
      slot = (random() % 3) << 32 | (random() % 2 == 0 ? 0 : random() % 5);
    }
    const SlotLine fast = ScanLine(line, tag);
    const SlotLine slow = ScanLineBySlots(line, tag);
    ASSERT_EQ(fast.tag, slow.tag) << round;
    ASSERT_EQ(fast.free, slow.free) << round;
    ASSERT_EQ(fast.empty, slow.empty) << round;
  }
}

}  // namespace
}  // namespace baton::router
