#pragma once

#include <string>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/config/address.h"

namespace baton::cli {

struct HttpReply {
  int status = 0;
  std::string body;
};

// One GET over a connection of its own, for health and status pages. `patience` is for the whole of
// it; bodies end at 4 MiB. A host that listens everywhere (0.0.0.0, ::) is dialled on this machine.
absl::StatusOr<HttpReply> HttpGet(const config::Address& address, const std::string& path,
                                  absl::Duration patience);

}  // namespace baton::cli
