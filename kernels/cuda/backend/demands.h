#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/launch/device.h"

// What the backend asks of a machine and of a model. Errors have the numbers that are there and
// those that are needed. Apart from the backend, so that stand-ins for it refuse in its words.
namespace baton::kernels::cuda {

// Versions as CUDA numbers them, 12040 for 12.4; the driver's is the newest that it knows, 0: there
// is no driver.
Error CheckDriver(int driver_version, int runtime_version);
// "12.4"
std::string VersionText(int version);

// Whether GPU number `device` is one of `count`.
Error CheckPresent(int device, int count);

// 90 for sm_90.
Error CheckComputeCapability(const std::string& gpu, int compute_capability);

// Backend::WhyNot.
std::string WhyNotOnCuda(const ModelShape& shape);

}  // namespace baton::kernels::cuda
