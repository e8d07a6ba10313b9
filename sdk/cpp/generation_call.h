#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "baton/generation.h"
#include "baton/v1/inference.grpc.pb.h"
#include "retry.h"

namespace baton::sdk {

// Nothing when `key` is empty.
inline void AddKey(const std::string& key, grpc::ClientContext& context) {
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
}

// One request on the wire, through its attempts. A reader thread pulls; any thread may cancel.
struct Generation::Call {
  Call(v1::Inference::Stub& stub, const ClientOptions& options, v1::GenerateRequest request,
       std::chrono::milliseconds timeout);

  bool Next(Event& event);
  void Cancel();

  Error error;  // the reader's; valid once Next() has returned false

 private:
  // One try on the wire. A context serves one call only.
  struct Attempt {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader;
  };

  void Start();
  // After a failed attempt that had brought nothing: waits and starts the next. False: give up.
  bool StartAgain();

  v1::Inference::Stub& stub_;
  const v1::GenerateRequest request_;
  const std::string api_key_;
  Retry retry_;
  bool begun_ = false;  // an event has arrived: from now on nothing is sent twice
  bool ended_ = false;

  std::mutex mutex_;  // guards what follows: Cancel() races with a new attempt
  std::condition_variable cancel_news_;
  bool cancelled_ = false;
  std::unique_ptr<Attempt> attempt_;
};

}  // namespace baton::sdk
