#pragma once

#include <grpcpp/grpcpp.h>

#include "baton/v1/worker.grpc.pb.h"
#include "services/prefill_worker/prefill_call.h"

namespace baton::prefill_worker {

// baton.v1.PrefillWorker.
class PrefillService : public v1::PrefillWorker::CallbackService {
 public:
  explicit PrefillService(PrefillWorker& worker) : worker_(worker) {}

  grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent>* Prefill(
      grpc::CallbackServerContext* context) override {
    return new PrefillCall(worker_, *context);
  }

  grpc::ServerUnaryReactor* Fence(grpc::CallbackServerContext* context,
                                  const v1::FenceRequest* request, v1::FenceResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    worker_.Fence(*request, [reactor] { reactor->Finish(grpc::Status::OK); });
    return reactor;
  }

 private:
  PrefillWorker& worker_;
};

}  // namespace baton::prefill_worker
