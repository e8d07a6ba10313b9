#include "common/rpc/channel.h"

#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "baton/v1/cluster.grpc.pb.h"

namespace baton::rpc {
namespace {

// A call that owns its context, and with that the channel, until its own end.
class LastOwner : public grpc::ClientBidiReactor<v1::WorkerReport, v1::RouterNotice> {
 public:
  LastOwner(v1::Cluster::Stub& stub, absl::Notification& done) : done_(done) {
    stub.async()->Attach(&context_, this);
    StartCall();
  }

 private:
  void OnDone(const grpc::Status&) override {
    absl::Notification& done = done_;
    delete this;
    done.Notify();
  }
  grpc::ClientContext context_;
  absl::Notification& done_;
};

TEST(PeerChannelTest, ACallbackMayDropTheLastChannel) {
  for (int i = 0; i < 300; ++i) {
    absl::Notification done;
    new LastOwner(*v1::Cluster::NewStub(PeerChannel("127.0.0.1:1")), done);
    done.WaitForNotification();
  }
}

}  // namespace
}  // namespace baton::rpc
