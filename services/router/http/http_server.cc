#include "services/router/http/http_server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "common/base/status.h"
#include "common/telemetry/logging.h"
#include "services/router/http/connection.h"
#include "services/router/http/http_head.h"

namespace baton::router {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

void HttpServerShared::Register(std::weak_ptr<HttpPeer> peer) {
  absl::MutexLock lock(&mutex);
  if (peers.size() >= sweep_at) {
    std::erase_if(peers, [](const auto& known) { return known.expired(); });
    sweep_at = 2 * peers.size() + 64;
  }
  peers.push_back(std::move(peer));
}

std::vector<std::shared_ptr<HttpPeer>> HttpServerShared::Peers() {
  absl::MutexLock lock(&mutex);
  std::vector<std::shared_ptr<HttpPeer>> alive;
  for (const auto& peer : peers) {
    if (auto strong = peer.lock()) alive.push_back(std::move(strong));
  }
  return alive;
}

namespace {

// Marks what comes from this machine and passes it on.
class LocalCallers : public HttpHandler {
 public:
  explicit LocalCallers(HttpHandler& handler) : handler_(handler) {}

  void OnRequest(HttpRequest request, std::shared_ptr<ResponseWriter> writer) override {
    request.from_this_machine = true;
    handler_.OnRequest(std::move(request), std::move(writer));
  }
  std::shared_ptr<WebSocketListener> OnWebSocket(const HttpRequest& request,
                                                 std::weak_ptr<WebSocket> socket) override {
    HttpRequest marked = request;
    marked.from_this_machine = true;
    return handler_.OnWebSocket(marked, std::move(socket));
  }
  void OnAnswered(std::string_view route, int status) override {
    handler_.OnAnswered(route, status);
  }
  void OnConnections(int open) override { handler_.OnConnections(open); }

 private:
  HttpHandler& handler_;
};

bool FromLoopback(const tcp::socket& socket) {
  error_code error;
  const asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return false;  // gone already
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address.is_loopback();
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
}

class AsioHttpServer : public HttpServer {
 public:
  AsioHttpServer(const HttpServerOptions& options, HttpHandler& handler)
      : options_(options),
        local_handler_(handler),
        local_(options_, local_handler_, shared_),
        others_(options_, handler, shared_),
        work_(asio::make_work_guard(io_)),
        acceptor_(io_),
        pause_(io_) {}
  ~AsioHttpServer() override;

  absl::Status Listen();
  std::string address() const override { return address_; }
  void Drain() override;
  int open_connections() const override { return shared_.open_connections; }

 private:
  void Accept();
  void OnAccepted(error_code error, tcp::socket socket);
  void TurnAway(tcp::socket socket);

  const HttpServerOptions options_;
  HttpServerShared shared_;
  LocalCallers local_handler_;
  HttpServerState local_;   // connections from this machine
  HttpServerState others_;  // from elsewhere
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::string address_;
  std::vector<std::thread> threads_;
};

absl::Status AsioHttpServer::Listen() {
  const HttpServerOptions& options = options_;
  error_code error;
  tcp::resolver resolver(io_);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    return Unavailable("cannot listen for HTTP on {}:{}: {}", options.host, options.port,
                       error.message());
  }
  const tcp::endpoint endpoint = found.begin()->endpoint();
  const auto failed = [&] {
    return Unavailable("cannot listen for HTTP on {}:{}: {}", options.host, options.port,
                       error.message());
  };
  if (acceptor_.open(endpoint.protocol(), error)) return failed();
  acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (acceptor_.bind(endpoint, error)) return failed();
  if (acceptor_.listen(asio::socket_base::max_listen_connections, error)) return failed();
  const bool ipv6 = options.host.find(':') != std::string::npos;
  address_ = fmt::format(fmt::runtime(ipv6 ? "[{}]:{}" : "{}:{}"), options.host,
                         acceptor_.local_endpoint(error).port());
  Accept();
  for (int i = 0; i < std::max(1, options.threads); ++i) {
    threads_.emplace_back([this] { io_.run(); });
  }
  return absl::OkStatus();
}

void AsioHttpServer::Accept() {
  acceptor_.async_accept(asio::make_strand(io_), [this](error_code error, tcp::socket socket) {
    OnAccepted(error, std::move(socket));
  });
}

void AsioHttpServer::OnAccepted(error_code error, tcp::socket socket) {
  if (error == asio::error::operation_aborted || shared_.draining) return;
  if (error) {
    // Out of descriptors, most likely: some will come free.
    telemetry::LogWarning("http", "accept failed", {{"why", error.message()}});
    pause_.expires_after(std::chrono::milliseconds(100));
    pause_.async_wait([this](error_code stopped) {
      if (!stopped) Accept();
    });
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  if (shared_.open_connections >= options_.connections_max) {
    TurnAway(std::move(socket));
  } else {
    HttpServerState& state = FromLoopback(socket) ? local_ : others_;
    state.Register(ServeHttp(std::move(socket), state));
  }
  Accept();
}

void AsioHttpServer::TurnAway(tcp::socket socket) {
  others_.handler->OnAnswered("", 503);
  HttpAnswer answer = ErrorAnswer(503, "too many connections; try again", "too_many_connections");
  answer.headers.emplace_back("Retry-After", "1");
  const std::string id = RequestIdOf("", shared_.next_request++);
  HeadOptions head{.request_id = id, .keep_alive = false, .content_length = answer.body.size()};
  const std::string bytes = FormatHead(answer, head) + answer.body;
  // It fits into the fresh socket's buffer; whoever does not take it gets nothing.
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(bytes), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void AsioHttpServer::Drain() {
  shared_.draining = true;
  asio::post(io_, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  });
  for (const auto& peer : shared_.Peers()) peer->CloseWhenIdle();
}

AsioHttpServer::~AsioHttpServer() {
  shared_.draining = true;
  // Connections end on their strands, and only then do the threads run out of work.
  asio::post(io_, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  });
  for (const auto& peer : shared_.Peers()) peer->Cut();
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpHandler& handler) {
  auto server = std::make_unique<AsioHttpServer>(options, handler);
  RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace baton::router
