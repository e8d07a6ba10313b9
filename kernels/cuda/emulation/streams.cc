#include "kernels/cuda/emulation/streams.h"

#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "kernels/check.h"

namespace baton::kernels::emulation {
namespace {

using Copy = std::function<std::optional<std::string>()>;

struct Held {
  explicit Held(uint64_t seed) : random(seed) {}
  std::mt19937_64 random;
  std::map<void*, std::deque<Copy>> of_stream;
  std::map<void*, std::string> errors;
  std::map<size_t, std::string> failing;
  size_t asked = 0;
};

std::mutex mutex;
Held* held = nullptr;  // guarded by mutex; null: copies happen at once

void RunFirst(void* stream, std::deque<Copy>& copies) {
  const Copy copy = std::move(copies.front());
  copies.pop_front();
  if (auto error = copy()) held->errors.emplace(stream, *std::move(error));
}

// Some of what is held back happens now.
void RunSome() {
  std::vector<void*> streams;
  for (const auto& [stream, copies] : held->of_stream) {
    if (!copies.empty()) streams.push_back(stream);
  }
  for (uint64_t left = held->random() % 3; left > 0 && !streams.empty(); --left) {
    void* stream = streams[held->random() % streams.size()];
    auto& copies = held->of_stream[stream];
    if (!copies.empty()) RunFirst(stream, copies);
  }
}

}  // namespace

HeldCopies::HeldCopies(uint64_t seed) {
  const std::scoped_lock lock(mutex);
  KERNELS_CHECK(held == nullptr);
  held = new Held(seed);
}

HeldCopies::~HeldCopies() {
  const std::scoped_lock lock(mutex);
  for (auto& [stream, copies] : held->of_stream) {
    while (!copies.empty()) RunFirst(stream, copies);
  }
  delete std::exchange(held, nullptr);
}

void HeldCopies::Fail(size_t copy, std::string why) {
  const std::scoped_lock lock(mutex);
  held->failing[copy] = std::move(why);
}

size_t HeldCopies::asked() const {
  const std::scoped_lock lock(mutex);
  return held->asked;
}

void OrderCopy(void* stream, std::function<void()> copy) {
  const std::scoped_lock lock(mutex);
  if (held == nullptr) return copy();
  const auto failing = held->failing.find(held->asked++);
  if (failing != held->failing.end()) {
    held->of_stream[stream].push_back([why = failing->second] { return why; });
  } else {
    held->of_stream[stream].push_back([copy = std::move(copy)]() -> std::optional<std::string> {
      copy();
      return std::nullopt;
    });
  }
  RunSome();
}

std::optional<std::string> Finish(void* stream) {
  const std::scoped_lock lock(mutex);
  if (held == nullptr) return std::nullopt;
  auto& copies = held->of_stream[stream];
  while (!copies.empty()) RunFirst(stream, copies);
  const auto error = held->errors.find(stream);
  if (error == held->errors.end()) return std::nullopt;
  std::string why = std::move(error->second);
  held->errors.erase(error);
  return why;
}

}  // namespace baton::kernels::emulation
