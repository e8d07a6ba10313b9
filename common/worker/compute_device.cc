#include "common/worker/compute_device.h"

#include <algorithm>
#include <string_view>
#include <system_error>

#include "absl/strings/ascii.h"

namespace baton::worker {
namespace {

v1::ComputeDevice::Rank DescribeRank(const kernels::Backend& backend) {
  const kernels::DeviceFacts facts = backend.facts();
  v1::ComputeDevice::Rank rank;
  rank.set_name(facts.name);
  if (facts.index >= 0) rank.set_index(facts.index);
  if (const auto memory = backend.memory()) {
    rank.set_memory_bytes(memory->bytes);
    rank.set_memory_bytes_free(memory->bytes_free);
  }
  return rank;
}

}  // namespace

v1::ComputeDevice DescribeDevice(const model::DeviceGroup& devices, const KvReach& kv) {
  const kernels::Backend& first = *devices.backends.front();
  const kernels::DeviceFacts facts = first.facts();
  v1::ComputeDevice device;
  device.set_kind(facts.index >= 0 ? "cuda" : "cpu");
  device.set_backend(first.name());
  for (const auto& backend : devices.backends) *device.add_ranks() = DescribeRank(*backend);
  device.set_driver_version(facts.driver_version);
  device.set_runtime_version(facts.runtime_version);
  if (!devices.collectives.empty()) device.set_collective(devices.collectives.front()->name());
  device.set_graphs(facts.graphs);
  device.set_warpgroups(facts.warpgroups);
  device.set_deterministic(facts.deterministic);
  device.set_kv_access(kv.access);
  device.set_why_mirror(kv.why_mirror);
  device.set_mirror_pinned(kv.mirror_pinned);
  device.set_why_no_gpu(devices.why_no_gpu);
  device.set_gpus_present(CountGpuFiles());
  return device;
}

int CountGpuFiles(const std::filesystem::path& folder) {
  constexpr std::string_view kStem = "nvidia";
  int count = 0;
  std::error_code none;  // no such folder: no such devices
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kStem) || name.size() == kStem.size()) continue;
    count += std::all_of(name.begin() + kStem.size(), name.end(), absl::ascii_isdigit);
  }
  return count;
}

}  // namespace baton::worker
