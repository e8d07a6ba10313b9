#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace baton::text {

// The tokens of texts that were encoded lately: what many requests begin with (a system prompt, a
// document, the turns of a conversation so far) is encoded once. Texts are compared whole, never by
// a hash alone. The least recently used go first. Thread-safe.
class EncodeCache {
 public:
  using Tokens = std::shared_ptr<const std::vector<int32_t>>;

  // Texts, tokens and what it takes to keep them are at most so large together.
  explicit EncodeCache(size_t bytes_max) : bytes_max_(bytes_max) {}

  // Null: not there.
  Tokens Find(std::string_view text) ABSL_LOCKS_EXCLUDED(mutex_);
  void Add(std::string_view text, Tokens tokens) ABSL_LOCKS_EXCLUDED(mutex_);
  size_t bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Entry {
    std::string text;
    Tokens tokens;
  };
  static size_t BytesOf(const Entry& entry);

  const size_t bytes_max_;
  mutable absl::Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the most recently used first
  // Keys are the entries' own texts.
  absl::flat_hash_map<std::string_view, std::list<Entry>::iterator> by_text_
      ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::text
