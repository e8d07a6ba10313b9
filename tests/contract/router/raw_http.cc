#include "tests/contract/router/raw_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/base/check.h"

namespace baton::router {
namespace {

constexpr int kPatienceMs = 20'000;

}  // namespace

RawHttp::RawHttp(const std::string& address, bool narrow) {
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.substr(colon + 1).c_str())));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  fd_ = socket(AF_INET, SOCK_STREAM, 0);
  const int bytes = 4096;
  if (narrow) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  CHECK(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0, "connect to {}", address);
}

RawHttp::~RawHttp() { Close(); }

void RawHttp::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

bool RawHttp::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawHttp::Fill() {
  pollfd waiting{fd_, POLLIN, 0};
  if (poll(&waiting, 1, kPatienceMs) <= 0) return false;
  char buffer[16384];
  const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
  if (got <= 0) return false;
  in_.append(buffer, static_cast<size_t>(got));
  return true;
}

std::string RawHttp::ReadUntil(std::string_view until) {
  size_t at;
  while ((at = in_.find(until)) == std::string::npos) {
    if (!Fill()) return std::exchange(in_, {});
  }
  std::string taken = in_.substr(0, at + until.size());
  in_.erase(0, taken.size());
  return taken;
}

std::string RawHttp::ReadSome(size_t most) {
  if (in_.empty() && !Fill()) return "";
  std::string taken = in_.substr(0, most);
  in_.erase(0, taken.size());
  return taken;
}

bool RawHttp::ReadEnd() {
  pollfd waiting{fd_, POLLIN, 0};
  char buffer[16384];
  for (;;) {
    if (poll(&waiting, 1, kPatienceMs) <= 0) return false;
    if (recv(fd_, buffer, sizeof(buffer), 0) <= 0) return true;
  }
}

std::optional<std::string> RawHttp::ReadChunks() {
  std::string body;
  for (;;) {
    const std::string line = ReadUntil("\r\n");
    if (line.size() < 3) return std::nullopt;
    const size_t size = std::strtoul(line.c_str(), nullptr, 16);
    while (in_.size() < size + 2) {
      if (!Fill()) return std::nullopt;
    }
    body += in_.substr(0, size);
    in_.erase(0, size + 2);
    if (size == 0) return body;
  }
}

std::optional<RawResponse> RawHttp::Read(bool head) {
  const std::string text = ReadUntil("\r\n\r\n");
  if (text.size() < 16 || text.compare(text.size() - 4, 4, "\r\n\r\n") != 0) return std::nullopt;
  RawResponse response;
  response.status = std::atoi(text.c_str() + 9);
  for (size_t at = text.find("\r\n") + 2; at + 2 < text.size();) {
    const size_t end = text.find("\r\n", at);
    const std::string line = text.substr(at, end - at);
    const size_t colon = line.find(": ");
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    response.headers[name] = line.substr(colon + 2);
    at = end + 2;
  }
  if (head || response.status == 204 || response.status == 101) return response;
  if (response.headers.contains("transfer-encoding")) {
    auto body = ReadChunks();
    if (!body) return std::nullopt;
    response.body = *std::move(body);
    return response;
  }
  const size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
  while (in_.size() < size) {
    if (!Fill()) return std::nullopt;
  }
  response.body = in_.substr(0, size);
  in_.erase(0, size);
  return response;
}

std::string RawRequest(std::string_view method, std::string_view target, std::string_view body,
                       const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string bytes = fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n", method, target);
  for (const auto& [name, value] : headers) bytes += fmt::format("{}: {}\r\n", name, value);
  if (!body.empty() || method == "POST") {
    bytes += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  }
  return bytes + "\r\n" + std::string(body);
}

RawResponse Call(const std::string& address, std::string_view method, std::string_view target,
                 std::string_view body,
                 const std::vector<std::pair<std::string, std::string>>& headers) {
  RawHttp http(address);
  CHECK(http.Write(RawRequest(method, target, body, headers)), "write");
  auto response = http.Read(method == "HEAD");
  CHECK(response.has_value(), "{} {}: no answer", method, target);
  return *response;
}

std::vector<std::string> SseData(std::string_view body) {
  std::vector<std::string> events;
  while (!body.empty()) {
    const size_t end = body.find("\n\n");
    CHECK(end != std::string_view::npos, "an event without its blank line: {}", body);
    CHECK(body.substr(0, 6) == "data: ", "not a data line: {}", body.substr(0, end));
    events.emplace_back(body.substr(6, end - 6));
    body.remove_prefix(end + 2);
  }
  return events;
}

}  // namespace baton::router
