#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/transfer/nccl/control_socket.h"
#include "common/transfer/nccl/frames.h"
#include "common/transfer/nccl/pair_link.h"

namespace baton::transfer {

// The side of one writer that is written to; see frames.h for what is said. The transfer thread's.
class PutReader {
 public:
  // `regions`: this process's, complete before the first writer comes; it and `links` outlive this.
  PutReader(ControlSocket socket, std::string token, const std::vector<RegionKey>& regions,
            PairLinks& links)
      : socket_(std::move(socket)), token_(std::move(token)), regions_(regions), links_(links) {}
  // Nothing is received any more when the socket closes: that it has closed tells the writer so.
  ~PutReader() { End(); }
  PutReader(PutReader&&) = delete;

  // Does what can be done now; whether anything moved.
  bool Advance();
  bool over() const { return over_; }
  // Waits for the GPU, which no descriptor tells of.
  bool needs_polling() const { return !over_ && (joining_ || receiving_); }
  const ControlSocket& socket() const { return socket_; }
  // Of the writer, once it has said so.
  const std::string& host_id() const { return host_id_; }
  const ProcessIdentity& process() const { return process_; }

 private:
  // False: the writer is not one of ours, or does not speak in turn.
  bool Take(const Frame& frame);
  bool Greet(const Frame& hello);
  bool TakeOffer(const Frame& offer);
  void Receive();
  bool Poll();
  void Say(FrameKind kind) { socket_.Send(Frame{.kind = kind}.Pack()); }
  absl::Status Check(const Frame& offer) const;
  void End();

  ControlSocket socket_;
  const std::string token_;
  const std::vector<RegionKey>& regions_;
  PairLinks& links_;
  std::unique_ptr<PairLink> link_;
  bool joining_ = false;
  bool receiving_ = false;
  std::optional<std::vector<Piece>> accepted_;  // while joining
  bool over_ = false;
  std::string host_id_;
  ProcessIdentity process_;
};

}  // namespace baton::transfer
