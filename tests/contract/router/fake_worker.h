#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/cluster.grpc.pb.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/rpc/server.h"

namespace baton::router {

// A decode worker whose tokens the test decides on. Serves worker.proto on a port of its own and
// records what it is told.
class FakeDecodeWorker : public v1::DecodeWorker::Service {
 public:
  FakeDecodeWorker();
  ~FakeDecodeWorker() override;

  const std::string& address() const { return server_.address; }
  // What a test can look at or wait for.
  struct Seen {
    std::vector<v1::SubmitSequences> submits;
    std::vector<v1::CancelSequence> cancels;
    std::vector<v1::LeavePrefillWorker> leaves;
    int streams = 0;  // open
  };
  Seen seen() ABSL_LOCKS_EXCLUDED(mutex_);
  // The condition must become true within 10 s; else the test fails.
  bool WaitFor(const std::function<bool(const Seen&)>& condition) ABSL_LOCKS_EXCLUDED(mutex_);
  // The i-th request submitted to this worker.
  v1::SubmitSequences WaitForSubmit(size_t index = 0);

  // Sends one message on the open stream; false when there is none.
  bool Send(const v1::DecodeEvent& event) ABSL_LOCKS_EXCLUDED(mutex_);
  // One delta of one choice.
  bool Tokens(const std::string& request, int choice, const std::vector<int32_t>& tokens,
              v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED);
  bool Error(const std::string& request, int choice, int code, const std::string& message);
  // Answers every submission by itself with these tokens, one per message.
  void AnswerAll(std::vector<int32_t> tokens, v1::FinishReason finish) ABSL_LOCKS_EXCLUDED(mutex_);
  // Answers every submission by itself with this error, until AnswerAll().
  void FailAll(int code, const std::string& message) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends everything at once, as a killed process would.
  void Die();

  grpc::Status Serve(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream) override;

 private:
  void Answer(const v1::SubmitSequences& submit);

  absl::Mutex mutex_;
  Seen seen_ ABSL_GUARDED_BY(mutex_);
  grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream_ ABSL_GUARDED_BY(mutex_) =
      nullptr;
  std::vector<int32_t> answer_ ABSL_GUARDED_BY(mutex_);
  std::pair<int, std::string> error_ ABSL_GUARDED_BY(mutex_);  // code 0: none
  v1::FinishReason answer_finish_ ABSL_GUARDED_BY(mutex_) = v1::FINISH_REASON_LENGTH;
  rpc::Server server_;
};

// A worker's stream to the router.
class FakeAttachment {
 public:
  FakeAttachment(const std::string& router, v1::Registration registration);
  ~FakeAttachment();

  void Report(const v1::WorkerReport& report);
  void ReportLoad(const v1::Load& load);
  // The router's notices so far.
  int snapshot_requests() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForSnapshotRequest(int count) ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForWelcome() ABSL_LOCKS_EXCLUDED(mutex_);
  bool WaitForDrainRequest() ABSL_LOCKS_EXCLUDED(mutex_);
  // Breaks the stream.
  void Break();
  // The router's last word, once it has ended the stream.
  grpc::Status Wait();

 private:
  void ReadNotices();

  std::unique_ptr<v1::Cluster::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerReport, v1::RouterNotice>> stream_;
  std::thread reader_;
  grpc::Status status_;  // after the reader has ended
  absl::Mutex mutex_;
  int snapshot_requests_ ABSL_GUARDED_BY(mutex_) = 0;
  bool welcome_ ABSL_GUARDED_BY(mutex_) = false;
  bool asked_to_drain_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::router
