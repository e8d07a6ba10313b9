#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace baton::rpc {

// A channel that notices a dead peer within about two seconds and reconnects with short back-off
// (100 ms to 1 s), for the long-lived streams between our own processes. It may be let go of on any
// thread, a gRPC callback included. Thread-safe.
std::shared_ptr<grpc::Channel> PeerChannel(const std::string& address);

}  // namespace baton::rpc
