#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/runtime/runtime.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda::testing {

DeviceTraits TestDevice() { return kSmallestDevice; }
std::optional<DeviceTraits> WarpgroupDevice() {
  DeviceInfo info;
  (void)Describe(1, &info);
  return info.traits;
}
std::vector<uint64_t> Orders() { return {0, 1, 2}; }
void UseOrder(uint64_t order) { emulation::SetOrder(order); }
std::string Complaints() { return emulation::Describe(emulation::TakeViolations()); }

}  // namespace baton::kernels::cuda::testing
