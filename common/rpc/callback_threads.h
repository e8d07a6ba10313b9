#pragma once

namespace baton::rpc {

// Makes gRPC keep the threads that run callbacks for as long as the process. Otherwise it ends them
// with the last channel they served, by joining them: a callback that drops that channel (with a
// ClientContext, say) joins itself, gives up, and goes on in a completion queue that is gone.
//
// Thread-safe; the first call waits for one of these threads, so it must not come from one of them:
// PeerChannel makes it, and StartServer before there are any.
void KeepCallbackThreads();

}  // namespace baton::rpc
