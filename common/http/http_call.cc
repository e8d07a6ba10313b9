#include "common/http/http_call.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>

#include "nlohmann/json.hpp"

namespace baton::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = beast::http;
using beast::error_code;

constexpr uint64_t kReplyBytesMax = 4 << 20;

// A certificate in the file counts, too, not only what it has signed.
absl::Status Believe(const std::string& ca, asio::ssl::context& context) {
  error_code error;
  context.load_verify_file(ca, error);
  if (error) return FailedPrecondition("{}: holds no certificate: {}", ca, error.message());
  X509_STORE_set_flags(SSL_CTX_get_cert_store(context.native_handle()), X509_V_FLAG_PARTIAL_CHAIN);
  return absl::OkStatus();
}

// Resolve, connect, shake hands, write, read: each step starts the next one, and the first error
// ends it all.
class Exchange {
 public:
  Exchange(beast_http::verb verb, const std::string& path, const Door& door, std::string body)
      : door_(door), request_(verb, path, 11) {
    request_.set(beast_http::field::host, door.address.text());
    if (!door.api_key.empty()) {
      request_.set(beast_http::field::authorization, "Bearer " + door.api_key);
    }
    request_.set(beast_http::field::connection, "close");
    if (!body.empty()) request_.set(beast_http::field::content_type, "application/json");
    request_.body() = std::move(body);
    request_.prepare_payload();
    reply_.body_limit(kReplyBytesMax);
  }

  // The answer, or why there is none.
  absl::Status Run(const std::string& host, int port, absl::Duration patience) {
    if (!door_.tls_ca.empty()) {
      RETURN_IF_ERROR(Believe(door_.tls_ca, context_));
      tls_.set_verify_mode(asio::ssl::verify_peer);
      const std::string& name = door_.tls_name.empty() ? host : door_.tls_name;
      if (!door_.any_name) tls_.set_verify_callback(asio::ssl::host_name_verification(name));
      SSL_set_tlsext_host_name(tls_.native_handle(), name.c_str());
    }
    resolver_.async_resolve(
        host, std::to_string(port), [this](error_code error, const auto& found) {
          if (End(error)) return;
          tcp().async_connect(found, [this](error_code error, const auto&) { OnConnected(error); });
        });
    io_.run_for(absl::ToChronoMilliseconds(patience));
    if (!result_) return absl::DeadlineExceededError("no answer in time");
    return *result_ ? Unavailable("{}", result_->message()) : absl::OkStatus();
  }
  beast_http::response<beast_http::string_body> TakeReply() { return reply_.release(); }

 private:
  void OnConnected(error_code error) {
    if (End(error)) return;
    if (door_.tls_ca.empty()) return Ask(tcp());
    tls_.async_handshake(asio::ssl::stream_base::client, [this](error_code error) {
      if (!End(error)) Ask(tls_);
    });
  }
  template <typename Stream>
  void Ask(Stream& stream) {
    beast_http::async_write(stream, request_, [this, &stream](error_code error, size_t) {
      if (End(error)) return;
      beast_http::async_read(stream, buffer_, reply_,
                             [this](error_code error, size_t) { result_ = error; });
    });
  }
  beast::tcp_stream& tcp() { return tls_.next_layer(); }
  bool End(error_code error) {
    if (error) result_ = error;
    return error.failed();
  }

  const Door& door_;
  asio::io_context io_;
  asio::ip::tcp::resolver resolver_{io_};
  asio::ssl::context context_{asio::ssl::context::tls_client};
  beast::ssl_stream<beast::tcp_stream> tls_{io_, context_};  // plain: its socket alone
  beast_http::request<beast_http::string_body> request_;
  beast_http::response_parser<beast_http::string_body> reply_;
  beast::flat_buffer buffer_;
  std::optional<error_code> result_;
};

}  // namespace

absl::StatusOr<Reply> Call(const Door& door, std::string_view method, const std::string& path,
                           std::string body, absl::Duration patience) {
  const config::Address& address = door.address;
  std::string host = address.host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  Exchange call(beast_http::string_to_verb(method), path, door, std::move(body));
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
