#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace baton {

// An integer or string that only mixes with its own kind: struct BlockTag {}; using BlockId =
// StrongId<BlockTag, int32_t>. Value-initialised by default; ordered, hashable, printable by
// value().
template <typename Tag, typename Value>
class StrongId {
 public:
  constexpr StrongId() = default;
  constexpr explicit StrongId(Value value) : value_(std::move(value)) {}
  constexpr const Value& value() const { return value_; }
  friend auto operator<=>(const StrongId&, const StrongId&) = default;

  template <typename H>
  friend H AbslHashValue(H state, const StrongId& id) {
    return H::combine(std::move(state), id.value_);
  }

 private:
  Value value_{};
};

struct WorkerIdTag {};
struct RequestIdTag {};
struct BlockIdTag {};

// A worker's name in the cluster: unique per process start ("prefill-0@4f1c2a"), so that a
// restarted worker is never taken for its predecessor.
using WorkerId = StrongId<WorkerIdTag, std::string>;
// A client request; a sequence is (RequestId, choice index).
using RequestId = StrongId<RequestIdTag, std::string>;
// Index of a KV block in one worker's pool, 0 … num_ids-1 (its blocks, then its spares).
using BlockId = StrongId<BlockIdTag, int32_t>;

// One generation inside a request. `n = 4` makes choices 0 … 3.
struct SequenceId {
  RequestId request;
  int32_t choice = 0;
  friend auto operator<=>(const SequenceId&, const SequenceId&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const SequenceId& id) {
    return H::combine(std::move(state), id.request, id.choice);
  }
};

}  // namespace baton

template <typename Tag, typename Value>
struct std::hash<baton::StrongId<Tag, Value>> {
  size_t operator()(const baton::StrongId<Tag, Value>& id) const {
    return std::hash<Value>{}(id.value());
  }
};
