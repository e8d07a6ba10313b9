#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace baton::router {

struct HttpAnswer {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  // besides the usual ones
  std::string body;
};

// The answer to one request. Thread-safe; calls take effect in order. Either Send() once, or
// Begin(), any number of Write() and End(). Dropped without an end, it cuts the connection.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;
  virtual void Send(HttpAnswer answer) = 0;
  // Status line and headers of a stream; answer.body is ignored.
  virtual void Begin(HttpAnswer answer) = 0;
  // False: the client is gone, or has left so much unread that it is cut off now.
  [[nodiscard]] virtual bool Write(std::string bytes) = 0;
  // The bound on what may be left unread grows by so much, for this answer; 0 at first.
  virtual void Expect(size_t bytes) = 0;
  virtual void End() = 0;
  // Called once if the client goes away before the end of the answer, on an I/O thread; at once if
  // it is gone already. Never after End().
  virtual void OnGone(std::function<void()> callback) = 0;
  // Called whenever nothing was written for so long, on an I/O thread; never after the end.
  virtual void OnIdle(absl::Duration silence, std::function<void()> callback) = 0;
  // A word for metrics: the pattern of the path, not the path.
  virtual void set_route(std::string_view route) = 0;
};

}  // namespace baton::router
