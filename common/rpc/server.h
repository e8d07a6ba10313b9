#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"

namespace baton::rpc {

struct ServerOptions {
  std::string listen;                // host:port, port 0 = any free one
  int message_bytes_max = 64 << 20;  // a 1M-token prompt is 5 MB of varints
};

struct Server {
  std::unique_ptr<grpc::Server> server;
  std::string address;  // host:port really bound
  int port = 0;
};

// Binds and starts, with server reflection and grpc.health.v1 (default service SERVING from the
// start; use server->GetHealthCheckService() for more). Services outlive the server. UNAVAILABLE
// naming the address when it cannot be bound.
absl::StatusOr<Server> StartServer(const ServerOptions& options,
                                   const std::vector<grpc::Service*>& services);

// A channel that notices a dead peer within about two seconds and reconnects with short back-off
// (100 ms to 1 s), for the long-lived streams between our own processes.
std::shared_ptr<grpc::Channel> PeerChannel(const std::string& address);

}  // namespace baton::rpc
