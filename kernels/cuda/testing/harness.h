#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/run.h"

// What kernel tests say about the machine they run on: a GPU, or the emulation.
namespace baton::kernels::cuda::testing {

DeviceTraits TestDevice();
// One whose kernels on warpgroups may be chosen; none on a GPU that has none.
std::optional<DeviceTraits> WarpgroupDevice();

// In how many orders the threads of a kernel are run (1 on a GPU, which has its own).
std::vector<uint64_t> Orders();
void UseOrder(uint64_t order);

// Waits, and says what has gone wrong since the last call: violations in the emulation, the CUDA
// error on a GPU. Empty: nothing.
std::string Complaints();

// Checks, chooses, launches and waits, and expects that nothing was wrong with any of it.
template <typename Args>
void ExpectRuns(const Args& args, const DeviceTraits& device = TestDevice()) {
  const Error error = Run(args, device);
  EXPECT_EQ(error.value_or(""), "");
  EXPECT_EQ(Complaints(), "");
}

// The same test once per order.
template <typename Body>
void InEveryOrder(Body body) {
  for (const uint64_t order : Orders()) {
    SCOPED_TRACE("order " + std::to_string(order));
    UseOrder(order);
    body();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace baton::kernels::cuda::testing
