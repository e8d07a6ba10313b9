#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/role.hpp>
#include <memory>
#include <utility>

namespace baton::router {

// A client's connection, plain or TLS: what is read and written, whichever it is. The one place
// that knows. Belongs to the loop that is its socket's executor; movable while nothing is under
// way. An AsyncStream as Asio and Beast have it.
class HttpStream {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using error_code = boost::system::error_code;
  using executor_type = Socket::executor_type;

  // `context` null: plain.
  HttpStream(Socket socket, const std::shared_ptr<boost::asio::ssl::context>& context)
      : context_(context) {
    if (context_ == nullptr) {
      plain_ = std::make_unique<Socket>(std::move(socket));
    } else {
      tls_ = std::make_unique<Tls>(std::move(socket), *context_);
    }
  }

  executor_type get_executor() { return socket().get_executor(); }
  Socket& socket() { return tls_ != nullptr ? tls_->next_layer() : *plain_; }
  bool tls() const { return tls_ != nullptr; }

  // Calls done(error) once bytes may be exchanged; done() of a plain stream runs at once.
  template <typename Done>
  void Begin(Done done) {
    if (tls_ == nullptr) return done(error_code());
    tls_->async_handshake(Tls::server, std::move(done));
  }
  // Goes on without TLS, to tell a client that spoke none.
  void SpeakPlainly() { bare_ = true; }
  // No more will be written: tells the client so, then calls done(). What it sends meanwhile is for
  // nobody.
  template <typename Done>
  void End(Done done) {
    if (tls_ == nullptr || bare_) {
      ShutDown(Socket::shutdown_send);
      return done();
    }
    tls_->async_shutdown([this, done = std::move(done)](error_code) mutable {
      bare_ = true;
      ShutDown(Socket::shutdown_send);
      done();
    });
  }
  void Close() {
    ShutDown(Socket::shutdown_both);
    error_code ignored;
    socket().close(ignored);
  }

  // What the socket takes at once; the rest is for async_write_some. Nothing of TLS.
  template <typename Buffers>
  size_t TryWrite(const Buffers& buffers, error_code& error) {
    if (tls_ != nullptr && !bare_) return 0;
    if (!socket().non_blocking()) socket().non_blocking(true, error);
    if (error) return 0;
    const size_t sent = socket().write_some(buffers, error);
    if (error == boost::asio::error::would_block) error = {};
    return sent;
  }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code, size_t)>(
        [this](auto handler, const Buffers& into) {
          if (tls_ != nullptr && !bare_) return tls_->async_read_some(into, std::move(handler));
          socket().async_read_some(into, std::move(handler));
        },
        token, buffers);
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code, size_t)>(
        [this](auto handler, const Buffers& from) {
          if (tls_ != nullptr && !bare_) return tls_->async_write_some(from, std::move(handler));
          socket().async_write_some(from, std::move(handler));
        },
        token, buffers);
  }

 private:
  using Tls = boost::asio::ssl::stream<Socket>;
  void ShutDown(Socket::shutdown_type what) {
    error_code ignored;
    socket().shutdown(what, ignored);
  }

  std::shared_ptr<boost::asio::ssl::context> context_;  // outlives what was made from it
  std::unique_ptr<Socket> plain_;                       // or
  std::unique_ptr<Tls> tls_;
  bool bare_ = false;  // TLS is over, or never began
};

// How Beast's WebSocket ends the connection below it.
inline void teardown(boost::beast::role_type, HttpStream& stream, HttpStream::error_code& error) {
  error = {};
  stream.Close();
}
template <typename Handler>
void async_teardown(boost::beast::role_type, HttpStream& stream, Handler&& handler) {
  stream.Close();
  boost::asio::post(stream.get_executor(), [handler = std::forward<Handler>(handler)]() mutable {
    handler(HttpStream::error_code());
  });
}
inline void beast_close_socket(HttpStream& stream) { stream.Close(); }

}  // namespace baton::router
