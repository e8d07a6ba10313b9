#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/config/address.h"

namespace baton::http {

struct Reply {
  int status = 0;
  std::string body;
};

// An HTTP door and what it takes to pass it.
struct Door {
  config::Address address;
  std::string api_key;    // empty: none
  std::string tls_ca;     // PEM file: the door speaks TLS, by a certificate of this; empty: plain
  std::string tls_name;   // what the certificate must be for; empty: the address's host
  bool any_name = false;  // the certificate may be for any name: `tls_ca` has no other
};

// One call over a connection of its own, for health, status and admin pages. `patience` is for the
// whole of it; answers end at 4 MiB. A host that listens everywhere (0.0.0.0, ::) is dialled on
// this machine. UNAVAILABLE when nobody speaks HTTP there (or proves to be who it should),
// DEADLINE_EXCEEDED when it takes longer.
absl::StatusOr<Reply> Call(const Door& door, std::string_view method, const std::string& path,
                           std::string body, absl::Duration patience);

inline absl::StatusOr<Reply> Get(const Door& door, const std::string& path,
                                 absl::Duration patience) {
  return Call(door, "GET", path, {}, patience);
}

// What the router says of an error in its answer's body; empty when it says nothing.
std::string ErrorMessageOf(const Reply& reply);

}  // namespace baton::http
