#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::transfer {

// The two ways to a peer. Each has its own UCX context and worker, because shared-memory puts need
// endpoints without peer failure handling and networks need it.
enum class Path : uint8_t { kSharedMemory = 0, kNetwork = 1 };
inline constexpr std::array<Path, 2> kPaths = {Path::kSharedMemory, Path::kNetwork};

// One opaque UCX blob (worker address, remote key) per path; empty where the process has no such
// path. Travels as one string: a little-endian 32-bit length before each blob, shared memory first.
struct PerPath {
  std::array<std::string, 2> blobs;

  std::string& operator[](Path path) { return blobs[static_cast<size_t>(path)]; }
  const std::string& operator[](Path path) const { return blobs[static_cast<size_t>(path)]; }

  std::string Pack() const;
  // Nothing when the bytes are not what Pack() makes: they come from another process.
  static std::optional<PerPath> Unpack(std::string_view bytes);
};

}  // namespace baton::transfer
