#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "common/transfer/process_identity.h"

namespace baton::transfer {

// What two transports say to each other over a ControlSocket. A frame is its kind, one byte, and
// its fields; numbers are little-endian, 64 bits.
//
//   writer                                reader
//   Hello{token, who}        ------->
//                            <-------     Welcome{id}       both join the NCCL communicator
//   Offer{key, pieces}       ------->                       key: of the region they go to
//                            <-------     Accept | Refuse{why}
//        === NCCL: sends ============>    receives
//                            <-------     Received          every byte is in the region
//   Stop                     ------->                       the writer's side is aborted
//                            <-------     Stopped           the reader's too: nothing lands now
enum class FrameKind : uint8_t {
  kHello = 1,
  kWelcome,
  kOffer,
  kAccept,
  kRefuse,
  kReceived,
  kStop,
  kStopped,
};

struct OfferedPiece {
  uint64_t address = 0;
  uint64_t bytes = 0;
};

struct Frame {
  FrameKind kind = FrameKind::kStop;
  std::string text;                  // Hello: the reader's token; Welcome: the id; Offer: the key
  std::string host_id;               // Hello: the writer's
  ProcessIdentity process;           // Hello
  std::vector<OfferedPiece> pieces;  // Offer
  absl::Status why;                  // Refuse: InvalidArgument

  std::string Pack() const;
  // Nothing when the bytes are not what Pack() makes: they come from another process.
  static std::optional<Frame> Unpack(std::string_view bytes);
};

// A region as writers name it: bounds, and the token of its owner.
struct RegionKey {
  uint64_t address = 0;
  uint64_t bytes = 0;
  std::string token;

  bool Holds(const OfferedPiece& piece) const {
    return piece.address >= address && piece.bytes <= bytes &&
           piece.address - address <= bytes - piece.bytes;
  }
  friend bool operator==(const RegionKey&, const RegionKey&) = default;
  std::string Pack() const;
  static std::optional<RegionKey> Unpack(std::string_view packed);
};

}  // namespace baton::transfer
