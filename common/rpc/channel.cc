#include "common/rpc/channel.h"

#include "common/rpc/callback_threads.h"
#include "common/rpc/server.h"

namespace baton::rpc {
std::shared_ptr<grpc::Channel> PeerChannel(const std::string& address,
                                           const Credentials& credentials, Role role) {
  KeepCallbackThreads();
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
