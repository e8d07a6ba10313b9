#include "common/http/http_call.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>

#include "nlohmann/json.hpp"

namespace baton::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = beast::http;
using beast::error_code;

constexpr uint64_t kReplyBytesMax = 4 << 20;

// Resolve, connect, write, read: each step starts the next one, and the first error ends it all.
class Exchange {
 public:
  Exchange(beast_http::verb verb, const std::string& path, const std::string& host,
           std::string body)
      : request_(verb, path, 11) {
    request_.set(beast_http::field::host, host);
    request_.set(beast_http::field::connection, "close");
    if (!body.empty()) request_.set(beast_http::field::content_type, "application/json");
    request_.body() = std::move(body);
    request_.prepare_payload();
    reply_.body_limit(kReplyBytesMax);
  }

  // The answer, or why there is none.
  absl::Status Run(const std::string& host, int port, absl::Duration patience) {
    resolver_.async_resolve(
        host, std::to_string(port), [this](error_code error, const auto& found) {
          if (End(error)) return;
          stream_.async_connect(found,
                                [this](error_code error, const auto&) { OnConnected(error); });
        });
    io_.run_for(absl::ToChronoMilliseconds(patience));
    if (!result_) return absl::DeadlineExceededError("no answer in time");
    return *result_ ? Unavailable("{}", result_->message()) : absl::OkStatus();
  }
  beast_http::response<beast_http::string_body> TakeReply() { return reply_.release(); }

 private:
  void OnConnected(error_code error) {
    if (End(error)) return;
    beast_http::async_write(stream_, request_, [this](error_code error, size_t) {
      if (End(error)) return;
      beast_http::async_read(stream_, buffer_, reply_,
                             [this](error_code error, size_t) { result_ = error; });
    });
  }
  bool End(error_code error) {
    if (error) result_ = error;
    return error.failed();
  }

  asio::io_context io_;
  asio::ip::tcp::resolver resolver_{io_};
  beast::tcp_stream stream_{io_};
  beast_http::request<beast_http::string_body> request_;
  beast_http::response_parser<beast_http::string_body> reply_;
  beast::flat_buffer buffer_;
  std::optional<error_code> result_;
};

}  // namespace

absl::StatusOr<Reply> Call(const config::Address& address, std::string_view method,
                           const std::string& path, std::string body, absl::Duration patience) {
  std::string host = address.host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  Exchange call(beast_http::string_to_verb(method), path, address.text(), std::move(body));
  RETURN_IF_ERROR(Annotate(call.Run(host, address.port, patience), address.text()));
  beast_http::response<beast_http::string_body> reply = call.TakeReply();
  return Reply{.status = static_cast<int>(reply.result_int()), .body = std::move(reply.body())};
}

std::string ErrorMessageOf(const Reply& reply) {
  const auto json = nlohmann::json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("error") || !json["error"].is_object()) return "";
  return json["error"].value("message", "");
}

}  // namespace baton::http
