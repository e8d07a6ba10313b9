#include "common/worker/router_link.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "common/base/check.h"
#include "common/rpc/server.h"
#include "common/worker/attach_stream.h"

namespace baton::worker {
namespace {

// Back-offs pass as soon as somebody looks.
class FastClock : public Clock {
 public:
  absl::Duration Monotonic() const override { return absl::Seconds(++seconds_); }
  absl::Time Wall() const override { return absl::Now(); }

 private:
  mutable std::atomic<int64_t> seconds_{1};
};

// Welcomes a worker and hangs up after so many reports.
class Router : public v1::Cluster::Service {
 public:
  explicit Router(int reports) : reports_(reports) {
    absl::StatusOr<rpc::Server> server = rpc::StartServer({.listen = "127.0.0.1:0"}, {this});
    CHECK_OK(server.status());
    server_ = std::move(*server);
  }
  ~Router() override { server_.server->Shutdown(std::chrono::system_clock::now()); }

  const std::string& address() const { return server_.address; }
  std::atomic<int> registrations{0};
  std::atomic<int> loads{0};
  std::atomic<int> events{0};

 private:
  grpc::Status Attach(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::RouterNotice, v1::WorkerReport>* stream) override {
    v1::WorkerReport report;
    if (!stream->Read(&report) || !report.has_registration()) return grpc::Status::CANCELLED;
    ++registrations;
    v1::RouterNotice welcome;
    welcome.mutable_welcome()->set_router_id("r");
    stream->Write(welcome);
    for (int i = 0; i < reports_ && stream->Read(&report); ++i) {
      loads += report.has_load();
      events += report.has_kv_events();
    }
    return grpc::Status::OK;
  }

  const int reports_;
  rpc::Server server_;
};

v1::Registration Worker() {
  v1::Registration worker;
  worker.set_worker_id("w");
  worker.set_heartbeat_ms(10);
  return worker;
}

TEST(RouterLinkTest, ARouterThatHangsUpInMidReportIsDialledAgain) {
  Router router(3);
  FastClock clock;
  RouterLink link(router.address(), AttachStream::To(router.address()), Worker(), {[] {}, [] {}},
                  clock);
  std::atomic<bool> stop{false};
  // Reports keep coming while streams end: none of them may touch a stream after its end.
  std::thread reporter([&] {
    v1::Load load;
    while (!stop) link.SendLoad(load);
  });
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (router.registrations < 100 && absl::Now() < until) link.Tick();
  stop = true;
  reporter.join();
  EXPECT_GE(router.registrations, 100);
  EXPECT_GT(router.loads, 100);
}

TEST(RouterLinkTest, KvEventsFlowFromTheFirstSnapshotOn) {
  Router router(1 << 20);
  FastClock clock;
  std::atomic<int> wanted{0};
  RouterLink link(router.address(), AttachStream::To(router.address()), Worker(),
                  {[&] { ++wanted; }, [] {}}, clock);
  auto wait_for = [&](auto condition) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (!condition() && absl::Now() < until) link.Tick();
    return condition();
  };
  ASSERT_TRUE(wait_for([&] { return wanted > 0; })) << "a welcome asks for a snapshot";
  auto change = std::make_shared<v1::KvEvents>();
  change->set_number(1);
  link.SendKvEvents(change);  // before the snapshot: the router could not place it
  auto snapshot = std::make_shared<v1::KvEvents>();
  snapshot->set_number(2);
  snapshot->set_snapshot(true);
  link.SendKvEvents(snapshot);
  link.SendKvEvents(change);
  ASSERT_TRUE(wait_for([&] { return router.events >= 2; }));
  EXPECT_EQ(router.events, 2);
}

}  // namespace
}  // namespace baton::worker
