#include "kernels/cuda/backend/demands.h"

namespace baton::kernels::cuda {

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Error CheckDriver(int driver_version, int runtime_version) {
  if (driver_version == 0) return "no NVIDIA driver is installed";
  // Minor versions of a major one work together.
  if (driver_version / 1000 >= runtime_version / 1000) return std::nullopt;
  return "the NVIDIA driver knows CUDA " + VersionText(driver_version) + ", this build needs " +
         std::to_string(runtime_version / 1000) + ".0 or newer: update the driver";
}

Error CheckPresent(int device, int count) {
  if (count == 0) return "this machine has no NVIDIA GPU";
  if (device >= 0 && device < count) return std::nullopt;
  return "device is " + std::to_string(device) + "; this machine has " + std::to_string(count) +
         " GPU(s), counted from 0";
}

Error CheckComputeCapability(const std::string& gpu, int compute_capability) {
  if (compute_capability >= kSmallestDevice.compute_capability) return std::nullopt;
  return gpu + " has compute capability " + std::to_string(compute_capability) + "; " +
         std::to_string(kSmallestDevice.compute_capability) + " (Ampere) is the least";
}

std::string WhyNotOnCuda(const ModelShape& shape) {
  const auto refuse = [](const char* field, int64_t value, const char* limit) {
    return std::string(field) + " is " + std::to_string(value) + "; the CUDA backend needs " +
           limit;
  };
  if (shape.hidden % 8 != 0) return refuse("hidden_size", shape.hidden, "a multiple of 8");
  if (shape.hidden > 16384) return refuse("hidden_size", shape.hidden, "at most 16384");
  if (shape.intermediate % 8 != 0) {
    return refuse("intermediate_size", shape.intermediate, "a multiple of 8");
  }
  if (shape.head_dim % 8 != 0 || shape.head_dim > 256) {
    return refuse("head_dim", shape.head_dim, "a multiple of 8, at most 256");
  }
  return "";
}

}  // namespace baton::kernels::cuda
