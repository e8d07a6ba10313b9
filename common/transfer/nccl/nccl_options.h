#pragma once

#include <string>

#include "absl/time/time.h"

namespace baton::transfer {

struct NcclOptions {
  // Where peers dial, and what they are told to dial when it differs (empty: the same).
  std::string listen_host = "127.0.0.1";
  std::string advertise_host;
  // How long a reader that does not answer may still take bytes in after this side has stopped.
  // Until then a failed transfer has not ended.
  absl::Duration linger = absl::Seconds(2);
  // While transfers are under way, how long the transfer thread polls without progress before it
  // sleeps a little.
  absl::Duration spin = absl::Microseconds(200);
};

}  // namespace baton::transfer
