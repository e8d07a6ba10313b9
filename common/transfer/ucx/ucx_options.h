#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/base/status.h"

namespace baton::transfer {

enum class UcxTransports : uint8_t {
  kAuto,          // shared memory towards peers on this host, the network towards all others
  kSharedMemory,  // peers on other hosts are refused
  kNetwork,       // the network even on this host (tests, benchmarks)
};

struct UcxOptions {
  UcxTransports transports = UcxTransports::kAuto;
  // UCX's names of the transports between hosts: "tcp", or "rc,ud,tcp" with a UCX that knows RDMA.
  std::string network_tls = "tcp";
  // UCX's names of the devices to use ("eth0", "mlx5_0:1"); empty: UCX's own choice.
  std::string network_devices;
  // While transfers are under way, how long the transfer thread polls without progress before it
  // sleeps.
  absl::Duration spin = absl::Microseconds(20);
  // How long bytes that a socket took may still be on their way after their connection was closed
  // or their writer died. Until then a failed network transfer has not ended, and a dead network
  // writer on this host is not yet gone.
  absl::Duration socket_linger = absl::Seconds(2);
  // Touch every page of a region when it is allocated, so that no transfer pays for page faults.
  bool prefault = true;

  absl::Status Validate() const {
    if (transports != UcxTransports::kSharedMemory && network_tls.empty()) {
      return InvalidArgument("transfer.network_tls is empty: name a UCX transport, such as tcp");
    }
    if (spin < absl::ZeroDuration() || spin > absl::Milliseconds(10)) {
      return InvalidArgument("transfer.spin must be between 0 and 10ms");
    }
    if (socket_linger < absl::ZeroDuration()) {
      return InvalidArgument("transfer.socket_linger must not be negative");
    }
    return absl::OkStatus();
  }
};

}  // namespace baton::transfer
