#include "services/router/http/http_head.h"

#include <algorithm>
#include <cctype>
#include <random>

#include "fmt/format.h"
#include "services/router/openai/error_shape.h"

namespace baton::router {
namespace {

constexpr size_t kRequestIdBytesMax = 128;

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Status";
  }
}

bool Usable(std::string_view id) {
  if (id.empty() || id.size() > kRequestIdBytesMax) return false;
  return std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == ':' || c == '-';
  });
}

}  // namespace

std::string FormatHead(const HttpAnswer& answer, const HeadOptions& options) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", answer.status, ReasonPhrase(answer.status));
  if (!answer.content_type.empty()) {
    head += fmt::format("Content-Type: {}\r\n", answer.content_type);
  }
  if (options.chunked) head += "Transfer-Encoding: chunked\r\n";
  if (options.content_length && answer.status != 204) {
    head += fmt::format("Content-Length: {}\r\n", *options.content_length);
  }
  head += fmt::format("X-Request-Id: {}\r\n", options.request_id);
  if (!options.allow_origin.empty()) {
    head +=
        fmt::format("Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n", options.allow_origin);
  }
  for (const auto& [name, value] : answer.headers) head += fmt::format("{}: {}\r\n", name, value);
  head += options.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

std::string FormatChunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

HttpAnswer ErrorAnswer(int status, std::string_view message, std::string_view code) {
  return {.status = status,
          .body = openai::Dump(openai::ErrorJson(
              message, status >= 500 ? "server_error" : "invalid_request_error", code))};
}

std::string AllowedOrigin(std::string_view origin) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (origin.substr(0, scheme.size()) != scheme) continue;
    const std::string_view rest = origin.substr(scheme.size());
    for (std::string_view host : {"localhost", "127.0.0.1", "[::1]"}) {
      if (rest.substr(0, host.size()) != host) continue;
      const std::string_view port = rest.substr(host.size());
      const bool plain = port.empty() || (port[0] == ':' && port.size() <= 6 &&
                                          std::all_of(port.begin() + 1, port.end(), ::isdigit));
      if (plain) return std::string(origin);
    }
  }
  return "";
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string RequestIdOf(std::string_view given, uint64_t number) {
  static const uint32_t process = std::random_device()();
  return Usable(given) ? std::string(given) : fmt::format("req-{:08x}{:06x}", process, number);
}

}  // namespace baton::router
