#include "tests/simulation/fault/fault_plan.h"

#include <algorithm>

namespace baton::simulation {

using enum FaultKind;

const std::vector<FaultProfile>& FaultProfiles() {
  static const auto& profiles = *new std::vector<FaultProfile>{
      {"calm", {}, false},
      {"network", {kBreakStream, kBreakStream, kPartition}, true},
      {"prefill", {kKillPrefill, kStopPrefill, kSlowPrefill, kCorruptPrefill}, false},
      {"decode", {kKillDecode, kStopDecode, kHangDecode, kSlowDecode}, true},
      {"drain", {kDrainDecode, kDrainPrefill, kSlowDecode}, true},
      {"router", {kKillRouter, kBreakStream}, true},
      {"everything",
       {kBreakStream, kPartition, kKillPrefill, kStopPrefill, kSlowPrefill, kCorruptPrefill,
        kKillDecode, kStopDecode, kHangDecode, kSlowDecode, kDrainDecode, kDrainPrefill,
        kKillRouter},
       true},
  };
  return profiles;
}

std::vector<Fault> DrawFaults(EventQueue& dice, const FaultProfile& profile, int count_max,
                              absl::Duration window) {
  std::vector<Fault> faults;
  if (profile.kinds.empty()) return faults;
  for (int i = dice.Uniform(1, count_max); i > 0; --i) {
    const auto last = static_cast<int>(profile.kinds.size()) - 1;
    faults.push_back({.at = dice.Between(absl::ZeroDuration(), window),
                      .kind = profile.kinds[dice.Uniform(0, last)],
                      .lasts = dice.Chance(70)
                                   ? dice.Between(absl::Milliseconds(20), absl::Seconds(1))
                                   : dice.Between(absl::Seconds(1), absl::Seconds(4))});
  }
  std::sort(faults.begin(), faults.end(),
            [](const Fault& a, const Fault& b) { return a.at < b.at; });
  return faults;
}

}  // namespace baton::simulation
