#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/inference.grpc.pb.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/grpc/open_calls.h"
#include "services/router/intake/intake.h"

namespace baton::router {

// One Generate call: events of its flight become messages, written one at a time, with a bound on
// what waits. Keeps itself alive until gRPC is done with it.
class GenerateCall : public grpc::ServerWriteReactor<v1::GenerateEvent>,
                     public EventSink,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  struct Options {
    size_t stream_bytes_max = 1 << 20;  // unsent; beyond it the call fails with RESOURCE_EXHAUSTED
    absl::Duration request_timeout = absl::InfiniteDuration();
  };
  // `tenant`: the caller's, or why it may not call.
  static GenerateCall* Begin(const Options& options, grpc::CallbackServerContext& context,
                             const v1::GenerateRequest& request,
                             const absl::StatusOr<std::string>& tenant, const Intake& intake,
                             Dispatcher& dispatcher, OpenCalls& open);

  bool OnEvents(std::vector<Event> events) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  GenerateCall(const Options& options, grpc::CallbackServerContext& context, bool with_tokens,
               OpenCalls& open)
      : options_(options), context_(context), with_tokens_(with_tokens), open_(open) {}
  absl::StatusOr<AcceptedRequest> Accept(const v1::GenerateRequest& request,
                                         const std::string& tenant, const Intake& intake,
                                         const Dispatcher& dispatcher) const;
  void Fly(AcceptedRequest request, Dispatcher& dispatcher);
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  grpc::CallbackServerContext& context_;  // gRPC's, until OnDone
  const bool with_tokens_;
  OpenCalls& open_;                     // counts this one until OnDone
  std::shared_ptr<GenerateCall> self_;  // until OnDone

  absl::Mutex mutex_;
  std::shared_ptr<Flight> flight_ ABSL_GUARDED_BY(mutex_);
  std::optional<AcceptedRequest> shown_ ABSL_GUARDED_BY(mutex_);    // what events are told about
  std::deque<v1::GenerateEvent> messages_ ABSL_GUARDED_BY(mutex_);  // front: being written
  size_t unsent_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t unsent_bytes_max_ ABSL_GUARDED_BY(mutex_) = options_.stream_bytes_max;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;                   // cancelled, broken or overrun
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;               // Finish() was called
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);  // said after the last message
};

}  // namespace baton::router
