#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/base/testing/event_queue.h"

namespace baton::simulation {

enum class FaultKind : uint8_t {
  kBreakStream,
  kPartition,
  kKillPrefill,
  kStopPrefill,
  kSlowPrefill,
  kCorruptPrefill,
  kKillDecode,
  kStopDecode,
  kHangDecode,
  kSlowDecode,
  kDrainDecode,
  kDrainPrefill,
  kKillRouter,
};

struct Fault {
  absl::Duration at;
  FaultKind kind = FaultKind::kBreakStream;
  absl::Duration lasts;  // until it heals, or the process is back; by the end all have healed
};

// What goes wrong in one run, and whom it may touch.
struct FaultProfile {
  std::string_view name;
  std::vector<FaultKind> kinds;  // empty: nothing goes wrong
  // A request may fail, or be lost with its router. Otherwise all complete.
  bool requests_may_fail = false;
};

// What runs are made of; a seed takes one of them.
const std::vector<FaultProfile>& FaultProfiles();

// In order of time, all within `window` from now.
std::vector<Fault> DrawFaults(EventQueue& dice, const FaultProfile& profile, int count_max,
                              absl::Duration window);

}  // namespace baton::simulation
