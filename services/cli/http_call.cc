#include "services/cli/http_get.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "absl/time/clock.h"

namespace baton::cli {
namespace {

constexpr size_t kReplyBytesMax = 4 << 20;

class Connection {
 public:
  explicit Connection(absl::Time deadline) : deadline_(deadline) {}
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Dial(const std::string& host, int port);
  absl::Status Send(std::string_view data);
  absl::StatusOr<std::string> ReadAll();

 private:
  absl::Status WaitFor(short events) {
    const absl::Duration left = deadline_ - absl::Now();
    pollfd entry{fd_, events, 0};
    if (left > absl::ZeroDuration() &&
        poll(&entry, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) == 1) {
      return absl::OkStatus();
    }
    return absl::DeadlineExceededError("no answer in time");
  }

  const absl::Time deadline_;
  int fd_ = -1;
};

absl::Status Connection::Dial(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found)) {
    return Unavailable("{}: {}", host, gai_strerror(error));
  }
  fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int result = connect(fd_, found->ai_addr, found->ai_addrlen);
  const int connect_error = errno;
  freeaddrinfo(found);
  if (result == 0) return absl::OkStatus();
  if (connect_error != EINPROGRESS) return Unavailable("connect: {}", strerror(connect_error));
  RETURN_IF_ERROR(WaitFor(POLLOUT));
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? absl::OkStatus() : Unavailable("connect: {}", strerror(error));
}

absl::Status Connection::Send(std::string_view data) {
  while (!data.empty()) {
    RETURN_IF_ERROR(WaitFor(POLLOUT));
    const ssize_t sent = send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return Unavailable("send: {}", strerror(errno));
    if (sent > 0) data.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Connection::ReadAll() {
  std::string all;
  char buffer[16384];
  while (all.size() < kReplyBytesMax) {
    RETURN_IF_ERROR(WaitFor(POLLIN));
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got == 0) return all;
    if (got < 0 && errno != EAGAIN) return Unavailable("receive: {}", strerror(errno));
    if (got > 0) all.append(buffer, static_cast<size_t>(got));
  }
  return ResourceExhausted("answer longer than {} bytes", kReplyBytesMax);
}

}  // namespace

absl::StatusOr<HttpReply> HttpGet(const config::Address& address, const std::string& path,
                                  absl::Duration patience) {
  std::string host = address.host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  Connection connection(absl::Now() + patience);
  RETURN_IF_ERROR(connection.Dial(host, address.port));
  // HTTP/1.0: the answer ends with the connection and is not chunked.
  RETURN_IF_ERROR(connection.Send(fmt::format(
      "GET {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", path, address.text())));
  ASSIGN_OR_RETURN(const std::string reply, connection.ReadAll());
  const size_t header_end = reply.find("\r\n\r\n");
  HttpReply parsed;
  if (!reply.starts_with("HTTP/1.") || header_end == std::string::npos ||
      std::from_chars(reply.data() + 9, reply.data() + 12, parsed.status).ec != std::errc()) {
    return Unavailable("{} does not speak HTTP", address.text());
  }
  parsed.body = reply.substr(header_end + 4);
  return parsed;
}

}  // namespace baton::cli
