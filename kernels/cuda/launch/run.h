#pragma once

#include "kernels/cuda/launch/device.h"

namespace baton::kernels::cuda {

// The whole way of one operation: check (check.cc), choose (choose.cc), launch (the .cu's last
// function), compute (its kernel).
template <typename Args>
Error Run(const Args& args, const DeviceTraits& device, Stream stream = {}) {
  if (Error error = Check(args)) return error;
  return Launch(args, Choose(args, device), stream);
}

}  // namespace baton::kernels::cuda
