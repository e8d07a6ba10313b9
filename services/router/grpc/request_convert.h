#pragma once

#include "baton/v1/inference.pb.h"
#include "services/router/dispatch/event.h"
#include "services/router/intake/client_request.h"

namespace baton::router {

// What a client's message asks for. Nothing is judged here: Intake does.
ClientRequest FromProto(const v1::GenerateRequest& request);
ChatPrompt FromProto(const v1::Chat& chat);

// `with_tokens`: the client wants to see the tokens behind the text.
v1::GenerateEvent ToProto(const Event& event, const AcceptedRequest& request, bool with_tokens);

}  // namespace baton::router
