#pragma once

#include <functional>
#include <string>

#include "common/base/status.h"
#include "common/engine/commands.h"
#include "common/transfer/transport.h"
#include "kernels/kv_shares.h"

namespace baton::worker {

// What a worker's logic stands on: an engine to post to, and the memory and identity it shows to
// its peers. A Runtime's, or a simulated worker's.
struct Footing {
  std::function<absl::Status(engine::Command)> post;  // as Engine::Post
  kernels::KvShares pool;
  transfer::Transport* transport = nullptr;  // never null; outlives whoever holds this
  std::string worker_id;
  std::string fingerprint;
  int32_t vocab = 0;  // token ids are below this
};

}  // namespace baton::worker
