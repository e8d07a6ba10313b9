#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/dispatch/event.h"
#include "services/router/openai/response_shape.h"

namespace baton::router::openai {

// Where an answer goes: an SSE stream, a plain HTTP response, a WebSocket. Called by one thread at
// a time; must not block.
class Outlet {
 public:
  virtual ~Outlet() = default;
  // One JSON text: a chunk of a stream, or the whole answer. False: the client is gone or reads too
  // slowly, and nothing more is taken.
  [[nodiscard]] virtual bool Send(std::string json) = 0;
  // After the last Send.
  virtual void End() = 0;
  // Instead of End: an error as the whole answer, or, once something was sent, as its last part.
  virtual void Fail(const absl::Status& status) = 0;
  // Before the first Send of a stream: so many bytes of it may come faster than any client reads,
  // and the bound on what may be left unread grows by them.
  virtual void Expect(size_t bytes) = 0;
};

// The events of all flights of one API call as one answer: prompt p's choice c has index p·n + c.
// Ends once, with the first failure or when every flight is complete. Thread-safe.
class Answer : public std::enable_shared_from_this<Answer> {
 public:
  struct Options {
    int32_t prompts = 1;
    int32_t n = 1;
    bool stream = false;
    bool include_usage = false;
  };
  Answer(const Options& options, ResponseShape shape, std::shared_ptr<Outlet> outlet);

  // For the flight of this prompt; keeps the answer alive.
  std::shared_ptr<EventSink> SinkFor(int32_t prompt_index);
  // A request that did not even take off.
  void Fail(const absl::Status& status);

 private:
  class PromptSink;
  bool Take(int32_t prompt_index, std::vector<Event> events);
  bool TakeOne(int32_t prompt_index, Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Stream(int32_t index, const Piece& piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool StreamRole(int32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Complete(const Completed& completed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const ResponseShape shape_;

  absl::Mutex mutex_;
  const std::shared_ptr<Outlet> outlet_ ABSL_PT_GUARDED_BY(mutex_);
  struct Progress {
    bool role_sent = false;
  };
  std::vector<Progress> progress_ ABSL_GUARDED_BY(mutex_);    // by index; streams
  std::vector<WholeChoice> choices_ ABSL_GUARDED_BY(mutex_);  // by index; whole answers
  UsageCounts usage_ ABSL_GUARDED_BY(mutex_);
  int32_t open_prompts_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::router::openai
