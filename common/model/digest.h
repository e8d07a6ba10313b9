#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace baton::model {

// SHA-256 over what was added, in order. Pieces are not delimited: add separators where it matters.
class Digest {
 public:
  Digest();
  ~Digest();
  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view text) { Add(std::as_bytes(std::span(text.data(), text.size()))); }
  // The first 32 hexadecimal digits. Ends the digest: nothing may be added afterwards.
  std::string Hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace baton::model
