#include "bench/router/upstream.h"

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/asio.hpp>
#include <memory>
#include <string>

#include "fmt/format.h"

namespace baton::bench {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

std::string Chunk(std::string_view text) {
  return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
}

// The number behind `key`; 0: it is not there.
int NumberBehind(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;
  int number = 0;
  for (const char c : text.substr(at + key.size())) {
    if (c == ' ') continue;
    if (c < '0' || c > '9') break;
    number = number * 10 + (c - '0');
  }
  return number;
}

constexpr std::string_view kEvent =
    "data: "
    "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"
    "1700000000,"
    "\"model\":\"baton-demo\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":"
    "null,"
    "\"finish_reason\":null}]}\n\n";

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)) {
    socket_.set_option(tcp::no_delay(true));
  }

  void Read() {
    asio::async_read_until(
        socket_, asio::dynamic_buffer(request_), "\r\n\r\n",
        [self = shared_from_this()](boost::system::error_code error, size_t head) {
          if (!error) self->ReadBody(head);
        });
  }

 private:
  void ReadBody(size_t head) {
    std::string lower = request_.substr(0, head);
    boost::algorithm::to_lower(lower);
    const size_t whole = head + static_cast<size_t>(NumberBehind(lower, "content-length:"));
    const size_t missing = whole > request_.size() ? whole - request_.size() : 0;
    asio::async_read(socket_, asio::dynamic_buffer(request_), asio::transfer_exactly(missing),
                     [self = shared_from_this(), whole](boost::system::error_code error, size_t) {
                       if (!error) self->Answer(whole);
                     });
  }

  void Answer(size_t whole) {
    const std::string_view request(request_.data(), whole);
    const bool chat = request.starts_with("POST") && request.find("/completions") != request.npos;
    left_ = chat ? NumberBehind(request, "\"max_tokens\":") : -1;
    request_.erase(0, whole);
    // Whatever else is asked (health, models) is answered so that a proxy takes this for alive.
    static constexpr std::string_view kAlive =
        R"({"object":"list","data":[{"id":"baton-demo","object":"model"}]})";
    piece_ = chat ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n"
                  : fmt::format(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                        "{}\r\n\r\n{}",
                        kAlive.size(), kAlive);
    Write();
  }

  void Write() {
    asio::async_write(socket_, asio::buffer(piece_),
                      [self = shared_from_this()](boost::system::error_code error, size_t) {
                        if (!error) self->Next();
                      });
  }

  void Next() {
    if (left_ < 0) return Read();
    piece_ = left_ == 0 ? Chunk("data: [DONE]\n\n") + "0\r\n\r\n" : Chunk(kEvent);
    --left_;
    Write();
  }

  tcp::socket socket_;
  std::string request_;
  std::string piece_;
  int left_ = 0;  // events to come; -1: none
};

void Accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket socket) {
    if (!error) std::make_shared<Session>(std::move(socket))->Read();
    Accept(acceptor);
  });
}

}  // namespace

void ServeUpstream(uint16_t port) {
  asio::io_context io(1);
  tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), port});
  Accept(acceptor);
  io.run();
}

}  // namespace baton::bench
