#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

// When the emulated runtime's copies to the device happen. Normally at once. While a HeldCopies
// lives, as they may on a device: at any time until their stream is waited for, and those of one
// stream before or after those of another. Thread-safe.
namespace baton::kernels::emulation {

class HeldCopies {
 public:
  // Which copies happen when depends on the seed alone, where one thread asks for them.
  explicit HeldCopies(uint64_t seed);
  // All that were held back have happened, or been dropped with their stream.
  ~HeldCopies();
  HeldCopies(const HeldCopies&) = delete;
  HeldCopies& operator=(const HeldCopies&) = delete;

  // Copy number `copy`, counted from 0, does not happen, and its stream says so when it is waited
  // for.
  void Fail(size_t copy, std::string why);
  // So many have been asked for.
  size_t asked() const;
};

// A copy on a stream: done now, or held back.
void OrderCopy(void* stream, std::function<void()> copy);
// What was ordered on the stream is done; an error is what became of one of its copies.
std::optional<std::string> Finish(void* stream);

}  // namespace baton::kernels::emulation
