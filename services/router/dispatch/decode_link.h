#pragma once

#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"

namespace baton::router {

class DecodeLink;

// Called on gRPC threads; one call at a time per link.
class DecodeLinkListener {
 public:
  virtual ~DecodeLinkListener() = default;
  virtual void OnEvent(DecodeLink& link, const v1::DecodeEvent& event) = 0;
  // The last call of this link. Everything submitted on it is over on the worker.
  virtual void OnBroken(DecodeLink& link, const absl::Status& why) = 0;
};

// One stream to one decode worker: commands one way, one message per step the other way. Ordered.
// Thread-safe. Keeps itself alive until gRPC is done with it.
class DecodeLink : public grpc::ClientBidiReactor<v1::DecodeCommand, v1::DecodeEvent> {
 public:
  // Returns at once; a worker that cannot be reached is said through OnBroken. The listener
  // outlives the link.
  static std::shared_ptr<DecodeLink> Open(const WorkerId& worker, const std::string& address,
                                          DecodeLinkListener& listener);

  const WorkerId& worker() const { return worker_; }
  // The connection stands.
  bool connected();
  // False: the stream is broken, nothing was sent.
  [[nodiscard]] bool Send(v1::DecodeCommand command);
  // Ends the stream; OnBroken follows.
  void Close() { context_.TryCancel(); }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  DecodeLink(const WorkerId& worker, const std::string& address, DecodeLinkListener& listener);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const WorkerId worker_;
  DecodeLinkListener& listener_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::DecodeWorker::Stub> stub_;
  grpc::ClientContext context_;
  v1::DecodeEvent event_;
  std::shared_ptr<DecodeLink> self_;  // until OnDone

  absl::Mutex mutex_;
  std::deque<v1::DecodeCommand> commands_ ABSL_GUARDED_BY(mutex_);  // front: being written
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::router
