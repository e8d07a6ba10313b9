#pragma once

#include "common/config/queue_options.h"
#include "services/router/queue/request_queue.h"

namespace baton::router {

// The tenants by name, the default one first; valid options only.
RequestQueue::Options RequestQueueOptionsOf(const config::QueueOptions& options);

}  // namespace baton::router
