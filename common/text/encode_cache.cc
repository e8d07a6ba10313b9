#include "common/text/encode_cache.h"

#include <utility>

namespace baton::text {

EncodeCache::Tokens EncodeCache::Find(std::string_view text) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_text_.find(text);
  if (found == by_text_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->tokens;
}

void EncodeCache::Add(std::string_view text, Tokens tokens) {
  Entry entry{std::string(text), std::move(tokens)};
  const size_t bytes = BytesOf(entry);
  if (bytes > bytes_max_) return;
  absl::MutexLock lock(&mutex_);
  if (by_text_.contains(text)) return;  // two requests had it at once
  while (bytes_ + bytes > bytes_max_) {
    bytes_ -= BytesOf(entries_.back());
    by_text_.erase(entries_.back().text);
    entries_.pop_back();
  }
  entries_.push_front(std::move(entry));
  by_text_.emplace(entries_.front().text, entries_.begin());
  bytes_ += bytes;
}

size_t EncodeCache::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

size_t EncodeCache::BytesOf(const Entry& entry) {
  constexpr size_t kNode = 200;  // list and map nodes, control blocks
  return entry.text.capacity() + entry.tokens->capacity() * sizeof(int32_t) + kNode;
}

}  // namespace baton::text
