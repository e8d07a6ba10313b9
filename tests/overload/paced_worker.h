#pragma once

#include <atomic>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "baton/v1/cluster.pb.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/rpc/server.h"

namespace baton::bench {

// A decode worker that keeps time instead of computing: every step, each of up to `batch` sequences
// gets a token, and the next ones in the queue join. A sequence takes prompt_steps steps before its
// first token.
class PacedWorker : public v1::DecodeWorker::Service {
 public:
  struct Options {
    int batch = 8;
    absl::Duration step = absl::Milliseconds(10);
    int prompt_steps = 2;
    int32_t token = 0;  // what it says
  };
  explicit PacedWorker(const Options& options);
  ~PacedWorker() override;

  const std::string& address() const { return server_.address; }
  v1::Load CurrentLoad() ABSL_LOCKS_EXCLUDED(mutex_);

  grpc::Status Serve(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream) override;

 private:
  struct Sequence {
    std::string request;
    int32_t choice = 0;
    int steps_left = 0;  // before its first token
    int tokens_left = 0;
  };
  void Take(const v1::DecodeCommand& command) ABSL_LOCKS_EXCLUDED(mutex_);
  void Step() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  absl::Mutex mutex_;
  std::deque<Sequence> waiting_ ABSL_GUARDED_BY(mutex_);
  std::vector<Sequence> running_ ABSL_GUARDED_BY(mutex_);
  grpc::ServerReaderWriter<v1::DecodeEvent, v1::DecodeCommand>* stream_ ABSL_GUARDED_BY(mutex_) =
      nullptr;
  std::atomic<bool> stop_ = false;
  rpc::Server server_;
  std::thread stepper_;
};

}  // namespace baton::bench
