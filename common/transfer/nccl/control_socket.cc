#include "common/transfer/nccl/control_socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "common/base/check.h"

namespace baton::transfer {
namespace {

constexpr size_t kLengthBytes = 4;

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

absl::StatusOr<Addresses> Resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return Unavailable("{}: {}", host, ::gai_strerror(error));
  return Addresses(found, &::freeaddrinfo);
}

// Small frames are answered at once, or they wait for each other's acknowledgements.
void SetNoDelay(int fd) {
  const int yes = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

uint32_t LengthAt(const std::string& bytes) {
  uint32_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  return length;
}

}  // namespace

absl::StatusOr<ControlSocket> ControlSocket::Dial(const std::string& host, int port) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(host, std::to_string(port), AI_NUMERICSERV));
  const int fd = ::socket(addresses->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Unavailable("socket: {}", std::strerror(errno));
  ControlSocket socket(fd);
  SetNoDelay(fd);
  if (::connect(fd, addresses->ai_addr, addresses->ai_addrlen) != 0 && errno != EINPROGRESS) {
    return Unavailable("{}:{}: {}", host, port, std::strerror(errno));
  }
  return socket;
}

ControlSocket::ControlSocket(ControlSocket&& other) noexcept { *this = std::move(other); }

ControlSocket& ControlSocket::operator=(ControlSocket&& other) noexcept {
  if (this == &other) return *this;
  Close();
  fd_ = std::exchange(other.fd_, -1);
  broken_ = other.broken_;
  ended_ = other.ended_;
  out_ = std::move(other.out_);
  in_ = std::move(other.in_);
  return *this;
}

void ControlSocket::Send(std::string_view frame) {
  CHECK(frame.size() <= kFrameBytesMax, "a frame of {} bytes", frame.size());
  if (broken()) return;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    out_.push_back(static_cast<char>(frame.size() >> (8 * i) & 0xff));
  }
  out_ += frame;
  Flush();
}

std::vector<std::string> ControlSocket::Advance() {
  Flush();
  Fill();
  std::vector<std::string> frames;
  size_t at = 0;
  while (in_.size() - at >= kLengthBytes) {
    const size_t length = LengthAt(in_.substr(at, kLengthBytes));
    if (length > kFrameBytesMax) broken_ = true;
    if (broken_ || in_.size() - at - kLengthBytes < length) break;
    frames.push_back(in_.substr(at + kLengthBytes, length));
    at += kLengthBytes + length;
  }
  in_.erase(0, at);
  return frames;
}

void ControlSocket::Flush() {
  while (!broken() && !out_.empty()) {
    const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      out_.erase(0, static_cast<size_t>(sent));
      continue;
    }
    // Not connected yet reads as "not now".
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN) return;
    if (errno != EINTR) broken_ = true;
  }
}

void ControlSocket::Fill() {
  char bytes[16 << 10];
  // What was sent before the other side went is read to its end.
  while (fd_ >= 0 && in_.size() <= kFrameBytesMax + kLengthBytes) {
    const ssize_t taken = ::recv(fd_, bytes, sizeof bytes, 0);
    if (taken > 0) {
      in_.append(bytes, static_cast<size_t>(taken));
      continue;
    }
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN)) return;
    ended_ = taken == 0;
    broken_ = true;
    return;
  }
}

void ControlSocket::Close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

absl::StatusOr<Listening> ListenForPeers(const std::string& host) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(host, "0", AI_PASSIVE | AI_NUMERICSERV));
  const int fd = ::socket(addresses->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  const bool listens = fd >= 0 && ::bind(fd, addresses->ai_addr, addresses->ai_addrlen) == 0 &&
                       ::listen(fd, SOMAXCONN) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0;
  if (!listens) {
    const absl::Status why = Unavailable("listening on {}: {}", host, std::strerror(errno));
    if (fd >= 0) ::close(fd);
    return why;
  }
  const bool six = bound.ss_family == AF_INET6;
  return Listening{fd, ntohs(six ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                 : reinterpret_cast<sockaddr_in&>(bound).sin_port)};
}

}  // namespace baton::transfer
