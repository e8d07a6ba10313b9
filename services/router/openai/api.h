#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/intake/intake.h"
#include "services/router/openai/answer.h"
#include "services/router/openai/request_parser.h"

namespace baton::router::openai {

// One API call under way. Thread-safe.
class RunningCall {
 public:
  // The client is gone: frees all its work on all workers. Harmless when it is over.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class Api;
  // False: cancelled already.
  bool Add(std::shared_ptr<Flight> flight) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  std::vector<std::shared_ptr<Flight>> flights_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

// The OpenAI-shaped API over whatever transport: parse, accept, start, shape the answer.
// Thread-safe.
class Api {
 public:
  struct Options {
    size_t json_depth_max = 64;
    absl::Duration request_timeout = absl::InfiniteDuration();  // unless the client asks for less
  };
  Api(const Options& options, const Intake& intake, Dispatcher& dispatcher, const Clock& clock)
      : options_(options), intake_(intake), dispatcher_(dispatcher), clock_(clock) {}

  // From the transport's headers.
  struct Context {
    std::string request_id;
    std::string traceparent;
    std::string tracestate;
    std::string tenant;
  };
  absl::StatusOr<ApiCall> Parse(Endpoint endpoint, const Json& body) const;
  absl::StatusOr<Json> ParseBody(std::string_view body) const;
  // Every outcome goes to the outlet, possibly before this returns.
  void Run(ApiCall call, const Context& context, std::shared_ptr<Outlet> outlet,
           RunningCall& running) const;

  const Intake& intake() const { return intake_; }

 private:
  absl::StatusOr<std::vector<AcceptedRequest>> AcceptAll(ApiCall& call,
                                                         const Context& context) const;

  const Options options_;
  const Intake& intake_;
  Dispatcher& dispatcher_;
  const Clock& clock_;
};

}  // namespace baton::router::openai
