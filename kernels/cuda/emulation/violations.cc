#include "kernels/cuda/emulation/violations.h"

#include <algorithm>
#include <utility>

namespace baton::kernels::emulation {
namespace {

constexpr int64_t kReportedPerKind = 8;
std::vector<Violation> reported;

}  // namespace

const char* NameOf(ViolationKind kind) {
  switch (kind) {
    case ViolationKind::kOutOfBounds:
      return "out of bounds";
    case ViolationKind::kMisaligned:
      return "misaligned";
    case ViolationKind::kUninitialised:
      return "uninitialised";
    case ViolationKind::kRace:
      return "race";
    case ViolationKind::kDivergence:
      return "divergence";
    case ViolationKind::kResources:
      return "resources";
  }
  return "?";
}

void Report(ViolationKind kind, std::string what) {
  const auto alike = std::count_if(reported.begin(), reported.end(),
                                   [&](const Violation& v) { return v.kind == kind; });
  if (alike < kReportedPerKind) reported.push_back({kind, std::move(what)});
}

std::vector<Violation> TakeViolations() { return std::exchange(reported, {}); }

std::string Describe(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& v : violations) text += std::string(NameOf(v.kind)) + ": " + v.what + "\n";
  return text;
}

}  // namespace baton::kernels::emulation
