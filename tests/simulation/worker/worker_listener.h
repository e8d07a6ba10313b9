#pragma once

#include <memory>
#include <set>

#include "common/worker/prefill_server.h"
#include "services/decode_worker/decode_worker.h"
#include "tests/simulation/clock/process.h"

namespace baton::simulation {

// A worker as those see it who dial it: routers for a Serve stream, decode workers for Prefill and
// Fence calls.
class WorkerListener {
 public:
  virtual ~WorkerListener() = default;
  virtual const std::shared_ptr<Process>& process() const = 0;
  // Requires a decode worker.
  virtual decode_worker::DecodeWorker& decode_worker() = 0;
  virtual worker::PrefillServer& prefill_server() = 0;
  // What its logic may still refer to although nobody is at the other end any more.
  virtual std::set<std::shared_ptr<void>>& sessions() = 0;
  // As its transport names it.
  virtual int64_t process_id() const = 0;
};

}  // namespace baton::simulation
