#include "common/rpc/channel.h"

#include <grpcpp/generic/generic_stub.h>

#include "absl/synchronization/notification.h"
#include "common/base/check.h"
#include "common/rpc/server.h"

namespace baton::rpc {
namespace {

// gRPC ends the threads that run its callbacks with the last channel they served, by joining them.
// A callback that drops that channel (with a ClientContext, say) joins itself, gives up, and goes
// on in a completion queue that is gone: `prior > 0`, or worse. So one channel that they serve
// stays for as long as the process; a call on it, cancelled before it begins, is what makes them
// serve it.
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

std::shared_ptr<grpc::Channel> PeerChannel(const std::string& address,
                                           const Credentials& credentials, Role role) {
  // Never destroyed. That it is read makes the compiler keep it: out of reach it would be a leak.
  static const auto& kept = *new std::shared_ptr<grpc::Channel>(ChannelThatStays());
  CHECK(kept != nullptr);
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // In spite of its name the time one attempt gets: a machine at its limit needs more than a moment
  // to shake hands. A refused connection is known at once all the same.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  args.SetMaxReceiveMessageSize(64 << 20);
  // A connection of its own: a stream that breaks tells of this peer only.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What is asked for in the certificate, and checked, instead of the address.
  if (credentials.tls()) args.SetSslTargetNameOverride(NameOf(role));
  return grpc::CreateCustomChannel(address, credentials.ForChannel(), args);
}

}  // namespace baton::rpc
