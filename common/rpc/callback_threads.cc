#include "common/rpc/callback_threads.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/rpc/credentials.h"

namespace baton::rpc {
namespace {

// A channel they serve: a call on it, cancelled before it begins, is what makes them serve it.
std::shared_ptr<grpc::Channel> ChannelThatStays() {
  auto channel = grpc::CreateChannel("unix:/never-dialled", Credentials().ForChannel());
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.TryCancel();
  const grpc::Slice empty;
  const grpc::ByteBuffer nothing(&empty, 1);
  grpc::ByteBuffer reply;
  absl::Notification done;
  stub.UnaryCall(&context, "/none", {}, &nothing, &reply,
                 [&done](const grpc::Status&) { done.Notify(); });
  done.WaitForNotification();
  return channel;
}

}  // namespace

void KeepCallbackThreads() {
  // Never destroyed. That it is read makes the compiler keep it: out of reach it would be a leak.
  static const auto& kept = *new std::shared_ptr<grpc::Channel>(ChannelThatStays());
  CHECK(kept != nullptr);
}

}  // namespace baton::rpc
