#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace baton::config {

// Where something listens or is dialled. Port 0 asks the kernel for a free one when listening.
struct Address {
  std::string host;  // name, IPv4, or IPv6 without brackets
  uint16_t port = 0;

  bool empty() const { return host.empty(); }
  // Reached from this machine only.
  bool loopback() const;
  // "127.0.0.1:8000", "[::1]:8000"; "" when empty.
  std::string text() const;
  friend bool operator==(const Address&, const Address&) = default;
};

// "host:port" or "[ipv6]:port"; ":8000" listens on every interface (host "0.0.0.0"). Errors read as
// the end of a sentence.
absl::StatusOr<Address> ParseAddress(std::string_view text);

}  // namespace baton::config
