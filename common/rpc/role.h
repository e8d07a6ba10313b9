#pragma once

#include <cstdint>

namespace baton::rpc {

// What a process is to its cluster. Its certificate says it, as one of its DNS names: addresses
// come and go with pods, what a process may do does not.
enum class Role : uint8_t { kRouter, kWorker };

// The name in the certificate. Nobody can resolve it, and nobody has to.
constexpr const char* NameOf(Role role) {
  return role == Role::kRouter ? "router.baton.internal" : "worker.baton.internal";
}

}  // namespace baton::rpc
