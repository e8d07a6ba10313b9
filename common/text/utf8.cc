#include "common/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace baton::text {
namespace {

enum class Form { kComplete, kIllFormed, kCutOff };

// The sequence at the start of some bytes. For kIllFormed: the longest piece that could have begun
// a sequence, at least one byte.
struct Sequence {
  Form form;
  size_t size;
};

// What may follow a lead byte: how many bytes, and the range of the first of them (the others are
// 80 … BF). size 0: not a lead byte.
struct Lead {
  size_t size;
  uint8_t second_min;
  uint8_t second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Requires !bytes.empty().
Sequence FirstSequence(std::string_view bytes) {
  const Lead lead = LeadOf(static_cast<uint8_t>(bytes[0]));
  if (lead.size == 0) return {Form::kIllFormed, 1};
  for (size_t i = 1; i < lead.size; ++i) {
    if (i == bytes.size()) return {Form::kCutOff, i};
    const uint8_t byte = static_cast<uint8_t>(bytes[i]);
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {Form::kIllFormed, i};
  }
  return {Form::kComplete, lead.size};
}

// Length of the run of ASCII at the start, eight bytes at a time.
size_t AsciiPrefix(std::string_view bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < bytes.size() && static_cast<uint8_t>(bytes[i]) < 0x80) ++i;
  return i;
}

// Length of the well-formed run at the start.
size_t ValidPrefix(std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    i += AsciiPrefix(bytes.substr(i));
    if (i == bytes.size()) break;
    const Sequence next = FirstSequence(bytes.substr(i));
    if (next.form != Form::kComplete) break;
    i += next.size;
  }
  return i;
}

}  // namespace

std::optional<size_t> FirstInvalidUtf8(std::string_view bytes) {
  const size_t valid = ValidPrefix(bytes);
  if (valid == bytes.size()) return std::nullopt;
  return valid;
}

size_t AppendCompleteUtf8(std::string_view bytes, std::string& out) {
  size_t taken = 0;
  while (true) {
    const size_t valid = ValidPrefix(bytes.substr(taken));
    out.append(bytes, taken, valid);
    taken += valid;
    if (taken == bytes.size()) return taken;
    const Sequence next = FirstSequence(bytes.substr(taken));
    if (next.form == Form::kCutOff) return taken;
    out.append(kReplacementCharacter);
    taken += next.size;
  }
}

std::string ToValidUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  if (AppendCompleteUtf8(bytes, out) < bytes.size()) out.append(kReplacementCharacter);
  return out;
}

}  // namespace baton::text
