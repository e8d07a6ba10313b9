#include "kernels/cuda/backend/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace baton::kernels::cuda {

void Staging::Reset() {
  used_ = 0;
  num_uploads_ = 0;
}

void Staging::Flip() {
  std::swap(host_, other_host_);
  Reset();
}

Staging::Room Staging::Take(size_t count) {
  constexpr size_t kUnit = 256;
  const size_t padded = (count + kUnit - 1) / kUnit * kUnit;
  if (padded > bytes_ - used_) return {};
  const Room room = {host_ + used_, device_ + used_};
  used_ += padded;
  return room;
}

const std::byte* Staging::Find(const void* bytes, size_t count) const {
  const size_t known = std::min(num_uploads_, uploads_.size());
  for (size_t i = 0; i < known; ++i) {
    const Upload& upload = uploads_[i];
    if (upload.count == count && std::memcmp(upload.room.host, bytes, count) == 0) {
      return upload.room.device;
    }
  }
  return nullptr;
}

void Staging::Remember(const Room& room, size_t count) {
  uploads_[num_uploads_++ % uploads_.size()] = {room, count};
}

}  // namespace baton::kernels::cuda
