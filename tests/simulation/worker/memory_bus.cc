#include "tests/simulation/worker/memory_bus.h"

#include <cstring>

#include "common/base/check.h"

namespace baton::simulation {

int64_t MemoryBus::Enlist(std::shared_ptr<Process> process) {
  const int64_t id = 100 + static_cast<int64_t>(processes_.size());
  processes_[id] = std::move(process);
  return id;
}

bool MemoryBus::Alive(int64_t process_id) const {
  const auto found = processes_.find(process_id);
  return found != processes_.end() && found->second->alive();
}

std::shared_ptr<Process> MemoryBus::process(int64_t process_id) const {
  const auto found = processes_.find(process_id);
  return found == processes_.end() ? nullptr : found->second;
}

void MemoryBus::Share(const std::string& region, int64_t owner, std::byte* data, size_t bytes) {
  regions_[region] = {owner, data, bytes};
}

absl::Status MemoryBus::Write(int64_t writer, const std::string& region, uint64_t offset,
                              const std::byte* source, size_t bytes) {
  const auto found = regions_.find(region);
  CHECK(found != regions_.end(), "no region {}", region);
  if (!Alive(found->second.owner)) return Unavailable("the owner of the memory is dead");
  CHECK(offset + bytes <= found->second.bytes, "{} bytes at {} of {}", bytes, offset,
        found->second.bytes);
  if (landing_) landing_(writer, region, offset);
  std::memcpy(found->second.data + offset, source, bytes);
  return absl::OkStatus();
}

}  // namespace baton::simulation
