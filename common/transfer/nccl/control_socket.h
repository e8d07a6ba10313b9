#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace baton::transfer {

// A TCP connection that carries frames: a little-endian 32-bit length and so many bytes. Owned by
// one thread, never blocks. Once broken it stays so.
class ControlSocket {
 public:
  static constexpr size_t kFrameBytesMax = 1 << 20;

  // Dials; whether that works shows later, in broken().
  static absl::StatusOr<ControlSocket> Dial(const std::string& host, int port);
  explicit ControlSocket(int fd) : fd_(fd) {}  // accepted; taken over
  ~ControlSocket() { Close(); }
  ControlSocket(ControlSocket&& other) noexcept;
  ControlSocket& operator=(ControlSocket&& other) noexcept;

  // At most kFrameBytesMax. What the kernel does not take now goes with Advance().
  void Send(std::string_view frame);
  // Writes what waits, reads what is there: the frames that are whole now.
  std::vector<std::string> Advance();
  bool broken() const { return fd_ < 0 || broken_; }
  // The other side has closed it, or has died; a network that fails is only broken().
  bool ended() const { return ended_; }
  // Bytes wait for the kernel: watch the descriptor for writing too.
  bool wants_write() const { return !out_.empty(); }
  int fd() const { return fd_; }
  void Close();

 private:
  void Flush();
  void Fill();

  int fd_ = -1;
  bool broken_ = false;
  bool ended_ = false;
  std::string out_;
  std::string in_;
};

// Listens on `host`, any port: the descriptor, and the port.
struct Listening {
  int fd = -1;
  int port = 0;
};
absl::StatusOr<Listening> ListenForPeers(const std::string& host);

}  // namespace baton::transfer
