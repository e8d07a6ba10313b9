#pragma once

#include <grpcpp/grpcpp.h>

#include "baton/v1/worker.grpc.pb.h"
#include "common/rpc/credentials.h"
#include "common/rpc/refused_call.h"
#include "services/decode_worker/decode_worker.h"
#include "services/decode_worker/grpc_router_session.h"

namespace baton::decode_worker {

// baton.v1.DecodeWorker: every Serve call is a GrpcRouterSession.
class DecodeService : public v1::DecodeWorker::CallbackService {
 public:
  explicit DecodeService(DecodeWorker& worker) : worker_(worker) {}

  grpc::ServerBidiReactor<v1::DecodeCommand, v1::DecodeEvent>* Serve(
      grpc::CallbackServerContext* context) override {
    if (const absl::Status peer = rpc::CheckPeer(*context, rpc::Role::kRouter); !peer.ok()) {
      return new rpc::RefusedCall<v1::DecodeCommand, v1::DecodeEvent>(peer);
    }
    return new GrpcRouterSession(worker_, context->peer());
  }

 private:
  DecodeWorker& worker_;
};

}  // namespace baton::decode_worker
