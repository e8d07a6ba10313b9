#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/router/http/http_request.h"
#include "services/router/http/http_tls.h"
#include "services/router/http/response_writer.h"
#include "services/router/http/websocket.h"

namespace baton::router {

// What the server does with what it read. Called on I/O threads: must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  virtual void OnRequest(HttpRequest request, std::shared_ptr<ResponseWriter> writer) = 0;
  // Who listens to an upgrade that may go on; else the answer says why not.
  virtual absl::StatusOr<std::shared_ptr<WebSocketListener>> OnWebSocket(
      const HttpRequest& request, std::weak_ptr<WebSocket> socket) = 0;
  // For metrics: every answer, also those that never reached OnRequest (route "").
  virtual void OnAnswered(std::string_view route, int status) {}
  virtual void OnConnections(int open) {}
};

struct HttpServerOptions {
  HttpTls* tls = nullptr;  // outlives the server; null: plain
  std::string host = "127.0.0.1";
  uint16_t port = 8000;  // 0: any free one
  int threads = 2;
  size_t header_bytes_max = 32 << 10;     // 431 beyond it
  size_t body_bytes_max = 8 << 20;        // 413 beyond it
  size_t stream_bytes_max = 1 << 20;      // unsent output; beyond it the client is cut off
  size_t pipelined_bytes_max = 64 << 10;  // sent ahead while an answer is under way
  int connections_max = 4096;             // 503 beyond it
  absl::Duration header_timeout =
      absl::Seconds(10);  // from connection or last answer to a whole header
  absl::Duration body_timeout = absl::Seconds(30);
  absl::Duration send_timeout = absl::Seconds(30);  // a client that reads nothing
};

// HTTP/1.1 with keep-alive, streams and WebSockets. Every client is bounded in bytes and in time.
class HttpServer {
 public:
  // UNAVAILABLE names the address when it cannot be bound. The handler outlives the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           HttpHandler& handler);
  virtual ~HttpServer() = default;  // cuts what is left and joins the threads
  // "127.0.0.1:41234", as bound.
  virtual std::string address() const = 0;
  // Accepts no more; idle connections close, the others after their answer.
  virtual void Drain() = 0;
  virtual int open_connections() const = 0;
};

}  // namespace baton::router
