#pragma once

#include <grpcpp/grpcpp.h>

#include "common/rpc/status.h"

namespace baton::rpc {

// A stream that ends at once with the reason. Deletes itself.
template <typename Request, typename Response>
class RefusedCall : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit RefusedCall(const absl::Status& why) { this->Finish(ToGrpc(why)); }
  void OnDone() override { delete this; }
};

}  // namespace baton::rpc
