#include "services/router/http/http_server.h"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/telemetry/logging.h"
#include "services/router/http/connection.h"
#include "services/router/http/http_head.h"

namespace baton::router {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

void HttpServerState::Register(std::weak_ptr<HttpPeer> peer) {
  absl::MutexLock lock(&mutex);
  if (peers.size() >= sweep_at) {
    std::erase_if(peers, [](const auto& known) { return known.expired(); });
    sweep_at = 2 * peers.size() + 64;
  }
  peers.push_back(std::move(peer));
}

std::vector<std::shared_ptr<HttpPeer>> HttpServerState::Peers() {
  absl::MutexLock lock(&mutex);
  std::vector<std::shared_ptr<HttpPeer>> alive;
  for (const auto& peer : peers) {
    if (auto strong = peer.lock()) alive.push_back(std::move(strong));
  }
  return alive;
}

namespace {

// One thread, and what belongs to it. A connection stays where it was put: nothing of it runs on
// two threads, and no thread wakes another one for it.
struct Loop {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  std::thread thread;
};

std::vector<std::unique_ptr<Loop>> MakeLoops(int count) {
  std::vector<std::unique_ptr<Loop>> loops;
  for (int i = 0; i < std::max(1, count); ++i) loops.push_back(std::make_unique<Loop>());
  return loops;
}

class AsioHttpServer : public HttpServer {
 public:
  AsioHttpServer(const HttpServerOptions& options, HttpHandler& handler)
      : loops_(MakeLoops(options.threads)), acceptor_(loops_[0]->io), pause_(loops_[0]->io) {
    state_.options = options;
    state_.handler = &handler;
  }
  ~AsioHttpServer() override;

  absl::Status Listen();
  std::string address() const override { return address_; }
  void Drain() override;
  int open_connections() const override { return state_.open_connections; }

 private:
  void Accept();
  void OnAccepted(error_code error, tcp::socket socket);
  void TurnAway(tcp::socket socket);

  HttpServerState state_;
  std::vector<std::unique_ptr<Loop>> loops_;
  size_t next_loop_ = 0;  // touched by the first loop's thread, which accepts
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::string address_;
};

absl::Status AsioHttpServer::Listen() {
  const HttpServerOptions& options = state_.options;
  error_code error;
  tcp::resolver resolver(loops_[0]->io);
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
  for (auto& loop : loops_) loop->thread = std::thread([&io = loop->io] { io.run(); });
  return absl::OkStatus();
}

void AsioHttpServer::Accept() {
  asio::io_context& io = loops_[next_loop_++ % loops_.size()]->io;
  acceptor_.async_accept(
      io, [this](error_code error, tcp::socket socket) { OnAccepted(error, std::move(socket)); });
}

void AsioHttpServer::OnAccepted(error_code error, tcp::socket socket) {
  if (error == asio::error::operation_aborted || state_.draining) return;
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
  if (state_.open_connections >= state_.options.connections_max) {
    TurnAway(std::move(socket));
  } else {
    HttpTls* tls = state_.options.tls;
    if (tls != nullptr) tls->Refresh(Clock::Real().Monotonic());
    state_.Register(ServeHttp(
        HttpStream(std::move(socket), tls != nullptr ? tls->context() : nullptr), state_));
  }
  Accept();
}

void AsioHttpServer::TurnAway(tcp::socket socket) {
  state_.handler->OnAnswered("", 503);
  HttpAnswer answer = ErrorAnswer(503, "too many connections; try again", "too_many_connections");
  answer.headers.emplace_back("Retry-After", "1");
  const std::string id = RequestIdOf("", state_.next_request++);
  HeadOptions head{.request_id = id, .keep_alive = false, .content_length = answer.body.size()};
  const std::string bytes = FormatHead(answer, head) + answer.body;
  if (state_.options.tls != nullptr) return;  // who has no word yet cannot be told
  // It fits into the fresh socket's buffer; whoever does not take it gets nothing.
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(bytes), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void AsioHttpServer::Drain() {
  state_.draining = true;
  asio::post(loops_[0]->io, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  });
  for (const auto& peer : state_.Peers()) peer->CloseWhenIdle();
}

AsioHttpServer::~AsioHttpServer() {
  state_.draining = true;
  // Connections end on their loops, and only then do these run out of work.
  asio::post(loops_[0]->io, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  });
  for (const auto& peer : state_.Peers()) peer->Cut();
  for (auto& loop : loops_) loop->work.reset();
  for (auto& loop : loops_) {
    if (loop->thread.joinable()) loop->thread.join();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpHandler& handler) {
  auto server = std::make_unique<AsioHttpServer>(options, handler);
  RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace baton::router
