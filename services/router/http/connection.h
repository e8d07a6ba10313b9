#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "services/router/http/http_server.h"
#include "services/router/http/http_stream.h"

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

// Of one server; outlives its connections.
struct HttpServerState {
  HttpServerOptions options;
  HttpHandler* handler = nullptr;
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

// Serves a connection until it ends. What the stream's executor runs, it runs one at a time.
std::shared_ptr<HttpPeer> ServeHttp(HttpStream stream, HttpServerState& state);

// Goes on with the connection as a WebSocket, or refuses the upgrade.
std::shared_ptr<HttpPeer> ServeWebSocket(HttpStream stream, HttpServerState& state,
                                         const HttpRequest& request);

}  // namespace baton::router
