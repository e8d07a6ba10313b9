#pragma once

#include "common/config/queue_options.h"
#include "services/router/queue/request_queue.h"

namespace baton::router {

// The tenants by name, the default one first; valid options only.
// How long requests wait for a decode worker that can take them; infinite: as long as it takes.
absl::Duration WorkerWaitOf(const config::QueueOptions& options);
RequestQueue::Options RequestQueueOptionsOf(const config::QueueOptions& options);

}  // namespace baton::router
