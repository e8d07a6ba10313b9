#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "common/rpc/credentials.h"

namespace baton::rpc {

// A channel that notices a dead peer within about two seconds and reconnects with short back-off
// (100 ms to 1 s), for the long-lived streams between our own processes. It may be let go of on any
// thread, a gRPC callback included. With TLS, whoever answers there must prove to be `role`.
// Thread-safe.
std::shared_ptr<grpc::Channel> PeerChannel(const std::string& address,
                                           const Credentials& credentials = {},
                                           Role role = Role::kWorker);

}  // namespace baton::rpc
