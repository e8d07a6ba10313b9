// A connection after its upgrade, on the same loop. One read and one write at a time; text frames
// only.
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket.hpp>
#include <chrono>
#include <deque>
#include <optional>

#include "services/router/http/connection.h"
#include "services/router/http/http_head.h"
#include "services/router/http/sse_outlet.h"

namespace baton::router {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
using boost::system::error_code;

http::request<http::string_body> ToBeast(const HttpRequest& request) {
  http::request<http::string_body> upgrade(http::verb::get, request.path, 11);
  for (const auto& [name, value] : request.headers) upgrade.set(name, value);
  return upgrade;
}

class WebSocketSession : public WebSocket,
                         public HttpPeer,
                         public std::enable_shared_from_this<WebSocketSession> {
 public:
  WebSocketSession(HttpStream stream, HttpServerState& state)
      : state_(state), stream_(std::move(stream)) {
    state_.handler->OnConnections(++state_.open_connections);
  }
  ~WebSocketSession() override { state_.handler->OnConnections(--state_.open_connections); }

  void Start(const HttpRequest& request) {
    if (!AllowedHere(request)) {
      return Refuse(request, ErrorAnswer(403, "pages of other hosts may not open this", "origin"));
    }
    auto listener = state_.handler->OnWebSocket(request, weak_from_this());
    if (!listener.ok()) return Refuse(request, AnswerOf(listener.status()));
    listener_ = *std::move(listener);
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = absl::ToChronoSeconds(state_.options.header_timeout);
    timeout.idle_timeout = std::chrono::seconds(60);  // pings in between
    timeout.keep_alive_pings = true;
    stream_.set_option(timeout);
    stream_.set_option(websocket::stream_base::decorator([id = request.request_id](auto& response) {
      response.set("X-Request-Id", id);
      response.erase(http::field::server);
    }));
    stream_.read_message_max(state_.options.body_bytes_max);
    stream_.text(true);
    stream_.async_accept(ToBeast(request), [self = shared_from_this()](error_code error) {
      self->state_.handler->OnAnswered("/v1/ws", error ? 400 : 101);
      if (error) return self->Ended();
      self->Read();
    });
  }

  bool Send(std::string text) override {
    if (ended_) return false;
    const size_t bytes = text.size();
    if (unsent_bytes_.fetch_add(bytes) + bytes >
        state_.options.stream_bytes_max + expected_bytes_) {
      Cut();
      return false;
    }
    asio::post(stream_.get_executor(),
               [self = shared_from_this(), text = std::move(text)]() mutable {
                 self->out_.push_back(std::move(text));
                 self->WriteNext();
               });
    return true;
  }
  void Expect(size_t bytes) override { expected_bytes_ = bytes; }
  void Close(uint16_t code, std::string reason) override {
    asio::post(stream_.get_executor(),
               [self = shared_from_this(), code, reason = std::move(reason)] {
                 if (!self->goodbye_) self->goodbye_.emplace(code, reason.substr(0, 120));
                 self->WriteNext();
               });
  }
  void CloseWhenIdle() override {
    Close(websocket::close_code::going_away, "the server is stopping");
  }
  void Cut() override {
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->Ended(); });
  }

 private:
  static bool AllowedHere(const HttpRequest& request) {
    const std::string_view origin = request.Header("origin");
    return origin.empty() || !AllowedOrigin(origin).empty();
  }

  void Refuse(const HttpRequest& request, const HttpAnswer& error) {
    auto answer = std::make_shared<std::string>();
    HeadOptions head{.request_id = request.request_id, .keep_alive = false};
    head.content_length = error.body.size();
    *answer = FormatHead(error, head) + error.body;
    state_.handler->OnAnswered("", error.status);
    asio::async_write(stream_.next_layer(), asio::buffer(*answer),
                      [self = shared_from_this(), answer](error_code, size_t) { self->Ended(); });
  }

  void Read() {
    stream_.async_read(in_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->Ended();
      if (!self->stream_.got_text()) {
        self->in_.consume(self->in_.size());
        self->Close(websocket::close_code::unknown_data, "text frames only");
        return self->Read();
      }
      const auto data = self->in_.cdata();
      std::string text(static_cast<const char*>(data.data()), data.size());
      self->in_.consume(self->in_.size());
      if (!self->goodbye_) self->listener_->OnText(std::move(text));
      self->Read();
    });
  }

  void WriteNext() {
    if (writing_ || ended_ || said_goodbye_) return;
    if (out_.empty()) {
      if (goodbye_) SayGoodbye();
      return;
    }
    writing_ = true;
    stream_.async_write(asio::buffer(out_.front()),
                        [self = shared_from_this()](error_code error, size_t bytes) {
                          self->writing_ = false;
                          self->unsent_bytes_ -= self->out_.front().size();
                          self->out_.pop_front();
                          if (error) return self->Ended();
                          self->WriteNext();
                        });
  }

  void SayGoodbye() {
    if (std::exchange(said_goodbye_, true)) return;
    websocket::close_reason reason(static_cast<websocket::close_code>(goodbye_->first));
    reason.reason = goodbye_->second;
    stream_.async_close(reason, [self = shared_from_this()](error_code) { self->Ended(); });
  }

  void Ended() {
    if (ended_.exchange(true)) return;
    stream_.next_layer().Close();
    if (listener_ != nullptr) listener_->OnClosed();
    listener_ = nullptr;
  }

  HttpServerState& state_;
  websocket::stream<HttpStream> stream_;
  boost::beast::flat_buffer in_;
  std::shared_ptr<WebSocketListener> listener_;
  std::deque<std::string> out_;  // front: being written
  bool writing_ = false;
  std::atomic<size_t> unsent_bytes_ = 0;
  std::atomic<size_t> expected_bytes_ = 0;
  std::atomic<bool> ended_ = false;
  std::optional<std::pair<uint16_t, std::string>> goodbye_;
  bool said_goodbye_ = false;
};

}  // namespace

std::shared_ptr<HttpPeer> ServeWebSocket(HttpStream stream, HttpServerState& state,
                                         const HttpRequest& request) {
  auto session = std::make_shared<WebSocketSession>(std::move(stream), state);
  session->Start(request);
  return session;
}

}  // namespace baton::router
