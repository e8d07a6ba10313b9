#include "common/transfer/nccl/put_reader.h"

#include <algorithm>
#include <utility>

namespace baton::transfer {

bool PutReader::Advance() {
  if (over_) return false;
  bool moved = false;
  for (const std::string& bytes : socket_.Advance()) {
    const std::optional<Frame> frame = Frame::Unpack(bytes);
    if (!frame || !Take(*frame)) return End(), true;
    moved = true;
  }
  if (socket_.broken()) return End(), true;
  return Poll() || moved;
}

bool PutReader::Take(const Frame& frame) {
  switch (frame.kind) {
    case FrameKind::kHello:
      return Greet(frame);
    case FrameKind::kOffer:
      return link_ != nullptr && !receiving_ && !accepted_ && TakeOffer(frame);
    case FrameKind::kStop:
      if (link_) link_->Abort();
      Say(FrameKind::kStopped);
      return false;
    default:
      return false;
  }
}

bool PutReader::Greet(const Frame& hello) {
  if (link_ != nullptr || hello.text != token_) return false;
  host_id_ = hello.host_id;
  process_ = hello.process;
  const absl::StatusOr<std::string> id = links_.MakeId();
  if (!id.ok()) return false;
  absl::StatusOr<std::unique_ptr<PairLink>> link = links_.Join(*id, 0);
  if (!link.ok()) return false;
  link_ = *std::move(link);
  joining_ = true;
  socket_.Send(Frame{.kind = FrameKind::kWelcome, .text = *id}.Pack());
  return true;
}

absl::Status PutReader::Check(const Frame& offer) const {
  const std::optional<RegionKey> key = RegionKey::Unpack(offer.text);
  if (!key || std::ranges::find(regions_, *key) == regions_.end()) {
    return InvalidArgument("remote_key is not of a region of this process");
  }
  for (const OfferedPiece& piece : offer.pieces) {
    if (key->Holds(piece)) continue;
    return InvalidArgument(
        "remote_address: {} bytes at {} are not within the region of {} bytes at {}", piece.bytes,
        piece.address, key->bytes, key->address);
  }
  return absl::OkStatus();
}

bool PutReader::TakeOffer(const Frame& offer) {
  if (absl::Status why = Check(offer); !why.ok()) {
    socket_.Send(Frame{.kind = FrameKind::kRefuse, .why = std::move(why)}.Pack());
    return true;
  }
  accepted_.emplace();
  for (const OfferedPiece& piece : offer.pieces) {
    accepted_->push_back({reinterpret_cast<std::byte*>(piece.address), piece.bytes});
  }
  if (!joining_) Receive();
  return !over_;
}

void PutReader::Receive() {
  const std::vector<Piece> pieces = *std::exchange(accepted_, std::nullopt);
  if (!link_->Receive(pieces).ok()) return End();
  receiving_ = true;
  Say(FrameKind::kAccept);
}

bool PutReader::Poll() {
  if (!needs_polling()) return false;
  const absl::StatusOr<bool> busy = link_->Busy();
  if (!busy.ok()) return End(), true;
  if (*busy) return false;
  if (joining_) {
    joining_ = false;
    if (accepted_) Receive();
  } else {
    receiving_ = false;
    Say(FrameKind::kReceived);
  }
  return true;
}

void PutReader::End() {
  over_ = true;
  if (link_) link_->Abort();
  socket_.Close();
}

}  // namespace baton::transfer
