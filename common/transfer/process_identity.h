#pragma once

#include <cstdint>
#include <string>

namespace baton::transfer {

// Who a process is, so that another one on the same host can tell whether it still runs: pids are
// reused, a pid with its start time is not.
struct ProcessIdentity {
  int64_t pid = 0;
  uint64_t start = 0;  // clock ticks since boot
  friend auto operator<=>(const ProcessIdentity&, const ProcessIdentity&) = default;
};

ProcessIdentity ThisProcess();

// Equal in two processes exactly when they see each other's pids and shared memory: the kernel's
// boot id with the pid and ipc namespaces. Two containers on one machine differ unless they share
// both.
const std::string& ThisHostId();

// Whether this very process has ended: no such pid, another start time, or a zombie (its memory and
// sockets are gone). Only meaningful within one host id. False when /proc cannot be read: not
// knowing is not gone.
bool HasEnded(const ProcessIdentity& process);

}  // namespace baton::transfer
