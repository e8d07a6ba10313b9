#include "kernels/cuda/emulation/device_memory.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/check.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"

namespace baton::kernels::emulation {
namespace {

std::map<const std::byte*, Allocation*>& Allocations() {
  static auto& by_address = *new std::map<const std::byte*, Allocation*>;
  return by_address;
}

}  // namespace

Allocation::Allocation(size_t bytes) : bytes_(bytes), shadow_((bytes + kGranule - 1) / kGranule) {
  const size_t padded = (bytes / 256 + 1) * 256;  // allocations never touch
  data_ = static_cast<std::byte*>(std::aligned_alloc(256, padded));
  KERNELS_CHECK(data_ != nullptr);
  std::memset(data_, 0xff, padded);  // NaN in every float format
  Allocations()[data_] = this;
}

Allocation::~Allocation() {
  Allocations().erase(data_);
  std::free(data_);
}

Allocation* Allocation::Of(const void* address) {
  auto after = Allocations().upper_bound(static_cast<const std::byte*>(address));
  if (after == Allocations().begin()) return nullptr;
  Allocation* before = std::prev(after)->second;
  return static_cast<const std::byte*>(address) <= before->data_ + before->bytes_ ? before
                                                                                  : nullptr;
}

void Allocation::MarkWritten(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    shadow_[i] = {.written = true};
  }
}

void Allocation::Forget(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) shadow_[i] = {};
  std::memset(data_ + offset, 0xff, bytes);
}

void Allocation::CheckRead(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    const Shadow& shadow = shadow_[i];
    if (!shadow.written) {
      return Report(ViolationKind::kUninitialised,
                    "device memory read before it was written, " + WhereNow());
    }
    if (shadow.launch == LaunchNow() && shadow.block != BlockNow()) {
      return Report(ViolationKind::kRace, "device memory read that block " +
                                              std::to_string(shadow.block) +
                                              " writes in the same launch, " + WhereNow());
    }
  }
}

void Allocation::CheckBulkRead(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    if (shadow_[i].written) return CheckRead(i * kGranule, offset + bytes - i * kGranule);
  }
}

void Allocation::CheckWrite(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    Shadow& shadow = shadow_[i];
    if (shadow.launch == LaunchNow() && shadow.block != BlockNow()) {
      return Report(ViolationKind::kRace, "device memory written that block " +
                                              std::to_string(shadow.block) +
                                              " writes in the same launch, " + WhereNow());
    }
    shadow = {.launch = LaunchNow(), .block = BlockNow(), .atomic = 0, .written = true};
  }
}

void Allocation::CheckAtomic(size_t offset, size_t bytes) {
  for (size_t i = offset / kGranule; i * kGranule < offset + bytes; ++i) {
    Shadow& shadow = shadow_[i];
    if (!shadow.written) {
      return Report(ViolationKind::kUninitialised,
                    "atomic on device memory that was never written, " + WhereNow());
    }
    if (shadow.launch == LaunchNow() && shadow.block != BlockNow() && !shadow.atomic) {
      return Report(ViolationKind::kRace, "atomic on device memory that block " +
                                              std::to_string(shadow.block) +
                                              " writes in the same launch, " + WhereNow());
    }
    shadow = {.launch = LaunchNow(), .block = BlockNow(), .atomic = 1, .written = true};
  }
}

}  // namespace baton::kernels::emulation
