#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "baton/v1/worker.grpc.pb.h"

namespace baton::testing {

// How one sequence went, as a router sees it.
struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // as many, when asked for
  v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;
  int status_code = 0;
  std::string status_message;
  v1::SequenceTimes times;
};

// A router's Serve stream to one decode worker: submits, cancels, gathers. Thread-safe.
class DecodeStream {
 public:
  explicit DecodeStream(const std::string& address);
  ~DecodeStream();

  // Greedy, one choice, no stop tokens unless `sequence` says otherwise.
  static v1::Sequence Greedy(const std::string& request_id, const std::vector<int32_t>& prompt,
                             int32_t max_tokens);
  void Submit(const std::vector<v1::Sequence>& sequences,
              const std::vector<v1::PrefillTarget>& prefill = {});
  void Cancel(const std::string& request_id);
  // Breaks the stream, as a dying router would.
  void Break() { context_.TryCancel(); }
  // Waits until the worker has ended the stream, and says how; fails the test when it does not.
  grpc::Status AwaitEnd(absl::Duration patience = absl::Seconds(30));

  // Waits for the end of a sequence; fails the test when it does not come.
  Generation Finish(const std::string& request_id, int32_t choice = 0,
                    absl::Duration patience = absl::Seconds(60));
  // So far.
  Generation Look(const std::string& request_id, int32_t choice = 0) const;
  // Submit and Finish.
  Generation Run(const v1::Sequence& sequence, const std::vector<v1::PrefillTarget>& prefill = {});

 private:
  void ReadAll();

  grpc::ClientContext context_;
  std::unique_ptr<v1::DecodeWorker::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::DecodeCommand, v1::DecodeEvent>> stream_;
  absl::Mutex write_mutex_;
  mutable absl::Mutex mutex_;
  std::map<std::pair<std::string, int32_t>, Generation> generations_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
};

}  // namespace baton::testing
