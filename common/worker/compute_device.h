#pragma once

#include <filesystem>
#include <string>

#include "baton/v1/device.pb.h"
#include "common/model/device.h"

namespace baton::worker {

// How peers reach the KV pool of a worker.
struct KvReach {
  v1::KvAccess access = v1::KV_ACCESS_HOST_POOL;
  std::string why_mirror;  // KV_ACCESS_HOST_MIRROR: why puts do not go to the device
  bool mirror_pinned = false;
};

// What a worker computes on, as routers and `baton doctor` are told it: memory that is free is so
// now. Any thread.
v1::ComputeDevice DescribeDevice(const model::DeviceGroup& devices, const KvReach& kv);

// GPUs whose device files (nvidia0, nvidia1, …) are in `folder`: those that this process is given.
int CountGpuFiles(const std::filesystem::path& folder = "/dev");

}  // namespace baton::worker
