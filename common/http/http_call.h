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

// One call over a connection of its own, for health, status and admin pages. `patience` is for the
// whole of it; answers end at 4 MiB. A host that listens everywhere (0.0.0.0, ::) is dialled on
// this machine. UNAVAILABLE when nobody speaks HTTP there, DEADLINE_EXCEEDED when it takes longer.
absl::StatusOr<Reply> Call(const config::Address& address, std::string_view method,
                           const std::string& path, std::string body, absl::Duration patience);

inline absl::StatusOr<Reply> Get(const config::Address& address, const std::string& path,
                                 absl::Duration patience) {
  return Call(address, "GET", path, {}, patience);
}

// What the router says of an error in its answer's body; empty when it says nothing.
std::string ErrorMessageOf(const Reply& reply);

}  // namespace baton::http
