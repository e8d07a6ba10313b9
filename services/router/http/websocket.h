#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace baton::router {

// One WebSocket after its handshake. Thread-safe.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  // One text frame. False: closed, or the client has left so much unread that it is cut off now.
  [[nodiscard]] virtual bool Send(std::string text) = 0;
  // The bound on what may be left unread grows by so much, until the next call of this; 0 at first.
  virtual void Expect(size_t bytes) = 0;
  // Says goodbye after what was sent. `code` as RFC 6455 has them: 1000 normal, 1008 policy, …
  virtual void Close(uint16_t code, std::string reason) = 0;
};

// Who listens to it. One call at a time, on an I/O thread.
class WebSocketListener {
 public:
  virtual ~WebSocketListener() = default;
  virtual void OnText(std::string text) = 0;
  // The last call, however it ended.
  virtual void OnClosed() = 0;
};

}  // namespace baton::router
