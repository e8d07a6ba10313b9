#pragma once

#include <grpcpp/grpcpp.h>

#include "baton/v1/worker.grpc.pb.h"
#include "common/rpc/credentials.h"
#include "common/rpc/refused_call.h"
#include "common/worker/prefill_call.h"

namespace baton::worker {

// baton.v1.PrefillWorker.
class PrefillService : public v1::PrefillWorker::CallbackService {
 public:
  explicit PrefillService(PrefillServer& server) : server_(server) {}

  grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent>* Prefill(
      grpc::CallbackServerContext* context) override {
    // Before any memory is named: the request tells where it is to be written to.
    if (const absl::Status peer = rpc::CheckPeer(*context, rpc::Role::kWorker); !peer.ok()) {
      return new rpc::RefusedCall<v1::PrefillCommand, v1::PrefillEvent>(peer);
    }
    return new PrefillCall(server_, *context);
  }

  grpc::ServerUnaryReactor* Fence(grpc::CallbackServerContext* context,
                                  const v1::FenceRequest* request, v1::FenceResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const absl::Status peer = rpc::CheckPeer(*context, rpc::Role::kWorker); !peer.ok()) {
      reactor->Finish(rpc::ToGrpc(peer));
      return reactor;
    }
    server_.Fence(*request, [reactor] { reactor->Finish(grpc::Status::OK); });
    return reactor;
  }

 private:
  PrefillServer& server_;
};

}  // namespace baton::worker
