#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/router/http/http_server.h"

// Private to the HTTP server: what its translation units share.
namespace baton::router {

// The handle by which the server ends a connection: thread-safe.
class HttpPeer {
 public:
  virtual ~HttpPeer() = default;
  // Idle: at once. Else after the answer under way.
  virtual void CloseWhenIdle() = 0;
  virtual void Cut() = 0;
};

// What all connections of one server share; outlives them.
struct HttpServerShared {
  std::atomic<int> open_connections = 0;
  std::atomic<bool> draining = false;
  std::atomic<uint64_t> next_request = 0;

  // Remembers a connection, for draining and for the end.
  void Register(std::weak_ptr<HttpPeer> peer) ABSL_LOCKS_EXCLUDED(mutex);
  std::vector<std::shared_ptr<HttpPeer>> Peers() ABSL_LOCKS_EXCLUDED(mutex);

  absl::Mutex mutex;
  std::vector<std::weak_ptr<HttpPeer>> peers ABSL_GUARDED_BY(mutex);
  size_t sweep_at ABSL_GUARDED_BY(mutex) = 64;  // entries at which the dead ones are dropped
};

// The server as connections from one side meet it: from this machine or from others, which have
// handlers of their own. Outlives its connections.
struct HttpServerState {
  HttpServerState(const HttpServerOptions& options, HttpHandler& handler, HttpServerShared& shared)
      : options(options),
        handler(&handler),
        open_connections(shared.open_connections),
        draining(shared.draining),
        next_request(shared.next_request),
        shared_(shared) {}
  void Register(std::weak_ptr<HttpPeer> peer) { shared_.Register(std::move(peer)); }

  const HttpServerOptions& options;
  HttpHandler* const handler;
  std::atomic<int>& open_connections;
  std::atomic<bool>& draining;
  std::atomic<uint64_t>& next_request;

 private:
  HttpServerShared& shared_;
};

using HttpSocket = boost::asio::ip::tcp::socket;

// Serves a connection until it ends. The socket's executor is a strand of its own.
std::shared_ptr<HttpPeer> ServeHttp(HttpSocket socket, HttpServerState& state);

// Goes on with the connection as a WebSocket, or refuses the upgrade.
std::shared_ptr<HttpPeer> ServeWebSocket(HttpSocket socket, HttpServerState& state,
                                         const HttpRequest& request);

}  // namespace baton::router
