#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "baton/error.h"
#include "baton/v1/inference.pb.h"
#include "baton/v1/sampling.pb.h"

namespace baton::sdk {

// One piece of news from a running request. In order: kStarted, then kText and kFinished of all
// choices interleaved, then kUsage.
struct Event {
  enum class Kind { kStarted, kText, kFinished, kUsage };
  Kind kind = Kind::kText;
  int32_t index = 0;                       // choice, 0 … n-1 (kText, kFinished)
  std::string text;                        // kText: whole UTF-8 characters
  std::vector<v1::GeneratedToken> tokens;  // kText, when ids or log-probabilities were asked for
  // kText, with sampling.prompt_logprobs: the prompt's next tokens, in order; all of them before
  // the choice's first of `tokens`. The first has no logprob.
  std::vector<v1::GeneratedToken> prompt;
  v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;  // kFinished
  std::string message;  // kFinished with FINISH_REASON_ERROR: what happened
  std::string stop;     // kFinished: the stop string that matched
  v1::Started started;  // kStarted: request id, seed, workers
  v1::Usage usage;      // kUsage: token counts, TTFT
};

// A request under way. Pull events with Next() or a range-for; destroying it cancels what is left.
// One thread reads; Cancel() may come from any thread. Move-only.
class Generation {
 public:
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  // Blocks for the next event. False at the end; error() then says whether it was a good one.
  bool Next(Event& event);
  // Set after the last event. A choice that failed alone is a kFinished event, not an error here.
  const Error& error() const;
  // Stops the work on all workers within one step. Next() soon returns false with kCancelled.
  void Cancel();

  class iterator {
   public:
    using value_type = Event;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    using pointer = Event*;
    using reference = Event&;
    iterator() = default;
    explicit iterator(Generation* generation) : generation_(generation) { ++*this; }
    Event& operator*() { return event_; }
    iterator& operator++() {
      if (!generation_->Next(event_)) generation_ = nullptr;
      return *this;
    }
    bool operator==(const iterator& other) const { return generation_ == other.generation_; }

   private:
    Generation* generation_ = nullptr;
    Event event_;
  };
  iterator begin() { return iterator(this); }
  iterator end() { return iterator(); }

 private:
  friend class Client;
  struct Call;
  explicit Generation(std::unique_ptr<Call> call);
  std::unique_ptr<Call> call_;
};

}  // namespace baton::sdk
