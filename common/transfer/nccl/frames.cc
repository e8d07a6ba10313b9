#include "common/transfer/nccl/frames.h"

namespace baton::transfer {
namespace {

constexpr size_t kNumberBytes = 8;

void AddNumber(uint64_t number, std::string& to) {
  for (size_t i = 0; i < kNumberBytes; ++i) to.push_back(static_cast<char>(number >> (8 * i)));
}

void AddText(std::string_view text, std::string& to) {
  AddNumber(text.size(), to);
  to += text;
}

// Takes fields off the front; after the first one that is not there, all are empty.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}
  uint64_t Number() {
    if (left_.size() < kNumberBytes) return Fail();
    uint64_t number = 0;
    for (size_t i = 0; i < kNumberBytes; ++i) {
      number |= uint64_t{static_cast<uint8_t>(left_[i])} << (8 * i);
    }
    left_.remove_prefix(kNumberBytes);
    return number;
  }
  std::string Text() {
    const uint64_t length = Number();
    if (length > left_.size()) return Fail(), "";
    std::string text(left_.substr(0, length));
    left_.remove_prefix(length);
    return text;
  }
  size_t left() const { return left_.size(); }
  bool whole() const { return good_ && left_.empty(); }

 private:
  uint64_t Fail() {
    good_ = false;
    left_ = {};
    return 0;
  }
  std::string_view left_;
  bool good_ = true;
};

}  // namespace

std::string Frame::Pack() const {
  std::string bytes(1, static_cast<char>(kind));
  switch (kind) {
    case FrameKind::kHello:
      AddText(text, bytes);
      AddText(host_id, bytes);
      AddNumber(static_cast<uint64_t>(process.pid), bytes);
      AddNumber(process.start, bytes);
      break;
    case FrameKind::kWelcome:
      AddText(text, bytes);
      break;
    case FrameKind::kOffer:
      AddText(text, bytes);
      for (const OfferedPiece& piece : pieces) {
        AddNumber(piece.address, bytes);
        AddNumber(piece.bytes, bytes);
      }
      break;
    case FrameKind::kRefuse:
      AddText(MessageOf(why), bytes);
      break;
    default:
      break;
  }
  return bytes;
}

std::optional<Frame> Frame::Unpack(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  Frame frame;
  frame.kind = static_cast<FrameKind>(bytes[0]);
  if (frame.kind < FrameKind::kHello || frame.kind > FrameKind::kStopped) return std::nullopt;
  Fields fields(bytes.substr(1));
  switch (frame.kind) {
    case FrameKind::kHello:
      frame.text = fields.Text();
      frame.host_id = fields.Text();
      frame.process.pid = static_cast<int64_t>(fields.Number());
      frame.process.start = fields.Number();
      break;
    case FrameKind::kWelcome:
      frame.text = fields.Text();
      break;
    case FrameKind::kOffer:
      frame.text = fields.Text();
      while (fields.left() > 0) {
        const uint64_t address = fields.Number();
        frame.pieces.push_back({address, fields.Number()});
      }
      break;
    case FrameKind::kRefuse:
      frame.why = InvalidArgument("{}", fields.Text());
      break;
    default:
      break;
  }
  if (!fields.whole()) return std::nullopt;
  return frame;
}

std::string RegionKey::Pack() const {
  std::string packed;
  AddNumber(address, packed);
  AddNumber(bytes, packed);
  AddText(token, packed);
  return packed;
}

std::optional<RegionKey> RegionKey::Unpack(std::string_view packed) {
  Fields fields(packed);
  RegionKey key;
  key.address = fields.Number();
  key.bytes = fields.Number();
  key.token = fields.Text();
  if (!fields.whole()) return std::nullopt;
  return key;
}

}  // namespace baton::transfer
