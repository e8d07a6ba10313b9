#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "common/request/sequence_spec.h"
#include "services/router/intake/client_request.h"

// How a request goes on on another worker from what the client has already.
namespace baton::router {

// The name of a request's n-th placement (from 1) between router and worker: what an earlier
// worker, or an earlier stay on the same one, still says cannot be mistaken for news of this one.
RequestId AttemptId(const RequestId& request, int attempt);
// The request's own id, of an AttemptId.
std::string_view RequestOf(std::string_view attempt_id);

// The sequence of one choice that goes on after `output`: the output becomes the end of the prompt,
// and limits count what is left. `now`: monotonic, for what is left of its time.
SequenceSpec ContinuationOf(const AcceptedRequest& request, int32_t choice,
                            std::span<const int32_t> output, absl::Duration now);

}  // namespace baton::router
