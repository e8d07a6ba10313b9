#include "common/http/page_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <thread>
#include <utility>

namespace baton::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = boost::beast::http;
using asio::ip::tcp;
using beast::error_code;

constexpr auto kPatience = std::chrono::seconds(5);
constexpr size_t kRequestBytesMax = 8 << 10;

Page PageFor(const PageServer::Pages& pages,
             const beast_http::request<beast_http::empty_body>& request) {
  const std::string_view target(request.target().data(), request.target().size());
  const auto found = pages.find(std::string(target.substr(0, target.find('?'))));
  if (found == pages.end()) return {404, "text/plain", "there is no such page\n"};
  const auto method = request.method();
  if (method != beast_http::verb::get && method != beast_http::verb::head) {
    return {405, "text/plain", "only GET is allowed\n"};
  }
  return found->second();
}

// One question and its answer. Keeps itself alive by the operation under way.
class Visit : public std::enable_shared_from_this<Visit> {
 public:
  Visit(tcp::socket socket, const PageServer::Pages& pages)
      : stream_(std::move(socket)), pages_(pages) {
    parser_.header_limit(kRequestBytesMax);
    parser_.body_limit(uint64_t{0});
  }

  void Begin() {
    stream_.expires_after(kPatience);
    beast_http::async_read_header(stream_, buffer_, parser_,
                                  [self = shared_from_this()](error_code error, size_t) {
                                    if (!error) self->Answer();
                                  });
  }

 private:
  void Answer() {
    const auto& request = parser_.get();
    const Page page = PageFor(pages_, request);
    answer_.version(request.version());
    answer_.result(static_cast<unsigned>(page.status));
    answer_.set(beast_http::field::content_type, page.content_type);
    answer_.set(beast_http::field::connection, "close");
    answer_.content_length(page.body.size());
    if (request.method() != beast_http::verb::head) answer_.body() = page.body;
    beast_http::async_write(stream_, answer_,
                            [self = shared_from_this()](error_code, size_t) { self->Leave(); });
  }
  void Leave() {
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  beast::tcp_stream stream_;
  const PageServer::Pages& pages_;
  beast::flat_buffer buffer_{kRequestBytesMax};
  beast_http::request_parser<beast_http::empty_body> parser_;
  beast_http::response<beast_http::string_body> answer_;
};

class Server : public PageServer {
 public:
  explicit Server(Pages pages) : pages_(std::move(pages)) {}
  ~Server() override {
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Bind(const config::Address& address) {
    error_code error;
    const auto found = tcp::resolver(io_).resolve(address.host, std::to_string(address.port),
                                                  tcp::resolver::passive, error);
    if (error || found.empty()) return Unavailable("{}: {}", address.text(), error.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return Unavailable("cannot listen on {}: {}", address.text(), error.message());
    address_ = {address.host, acceptor_.local_endpoint().port()};
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    return absl::OkStatus();
  }
  config::Address address() const override { return address_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (!error) std::make_shared<Visit>(std::move(socket), pages_)->Begin();
      Accept();
    });
  }

  const Pages pages_;
  asio::io_context io_{1};
  tcp::acceptor acceptor_{io_};
  config::Address address_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PageServer>> PageServer::Listen(const config::Address& address,
                                                               Pages pages) {
  auto server = std::make_unique<Server>(std::move(pages));
  RETURN_IF_ERROR(server->Bind(address));
  return server;
}

}  // namespace baton::http
