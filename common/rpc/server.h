#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/rpc/credentials.h"

namespace baton::rpc {

// Between our own processes a peer that says nothing for a second is asked whether it lives.
constexpr int kKeepaliveMs = 1000;

struct ServerOptions {
  std::string listen;  // host:port, port 0 = any free one
  Credentials credentials;
  bool clients_too = false;          // with TLS: callers without a certificate may connect, too
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

}  // namespace baton::rpc
