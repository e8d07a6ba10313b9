// A real baton-planner; the tests are its routers, and KEDA.
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "common/http/http_call.h"
#include "common/http/page_server.h"
#include "common/telemetry/metrics_text.h"
#include "grpcpp/grpcpp.h"
#include "keda/externalscaler.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/support/process.h"

namespace baton::testing {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

// What a router says, as its pages have it.
class FakeRouter {
 public:
  FakeRouter() {
    auto server = http::PageServer::Listen(
        {"127.0.0.1", 0}, {{"/debug/cluster", [this] { return http::Page{.body = Cluster()}; }},
                           {"/metrics", [this] { return http::Page{.body = Metrics()}; }}});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return server_->address().text(); }

  void SetWorkers(int prefill, int decode) {
    const std::lock_guard lock(mutex_);
    prefill_ = prefill;
    decode_ = decode;
  }
  void SetQueued(int requests) {
    const std::lock_guard lock(mutex_);
    queued_ = requests;
  }

 private:
  static nlohmann::json Worker(const std::string& role, int number) {
    return {{"id", fmt::format("{}-{}@1", role, number)},
            {"role", role},
            {"reachable", true},
            {"draining", false},
            {"num_blocks", 24'000},
            {"block_tokens", 16},
            {"batch_sequences_max", 64},
            {"step_tokens_max", 2048},
            {"load",
             {{"running", 0},
              {"fit",
               {{"base_ms", 8},
                {"per_prefill_token_ms", 0.06},
                {"per_decode_ms", 0.08},
                {"per_context_token_ms", 0.00002},
                {"samples", 100}}}}}};
  }
  std::string Cluster() {
    const std::lock_guard lock(mutex_);
    nlohmann::json workers = nlohmann::json::array();
    for (int i = 0; i < prefill_; ++i) workers.push_back(Worker("prefill", i));
    for (int i = 0; i < decode_; ++i) workers.push_back(Worker("decode", i));
    return nlohmann::json{{"queue", {{"waiting", queued_}, {"waiting_tokens", 100 * queued_}}},
                          {"workers", workers}}
        .dump();
  }
  std::string Metrics() {
    const std::lock_guard lock(mutex_);
    return fmt::format(
        "# TYPE baton_requests_accepted_total counter\nbaton_requests_accepted_total {}\n",
        accepted_);
  }

  std::mutex mutex_;
  int prefill_ = 0, decode_ = 0, queued_ = 0, accepted_ = 17;
  std::unique_ptr<http::PageServer> server_;
};

class PlannerTest : public ::testing::Test {
 protected:
  void Start(std::vector<std::string> flags) {
    for (const char* flag : {"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--interval",
                             "100ms", "--ports-file"}) {
      flags.emplace_back(flag);
    }
    flags.push_back(folder_.File("ports"));
    planner_ = std::make_unique<Process>("baton-planner", flags);
    nlohmann::json ports;
    ASSERT_TRUE(Eventually([&] {
      std::ifstream file(folder_.File("ports"));
      ports = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
      return ports.is_object();
    })) << planner_->log();
    http_ = *config::ParseAddress(ports["http"].get<std::string>());
    stub_ = externalscaler::ExternalScaler::NewStub(
        grpc::CreateChannel(ports["grpc"].get<std::string>(), grpc::InsecureChannelCredentials()));
  }
  static externalscaler::ScaledObjectRef RefTo(const std::string& pool) {
    externalscaler::ScaledObjectRef ref;
    ref.set_name("demo-" + pool);
    ref.set_namespace_("serving");
    (*ref.mutable_scalermetadata())["pool"] = pool;
    return ref;
  }
  // What KEDA computes of it: metric over target.
  grpc::Status Ask(const std::string& pool, double& workers) {
    externalscaler::GetMetricSpecResponse spec;
    grpc::ClientContext context, other_context;
    const grpc::Status status = stub_->GetMetricSpec(&context, RefTo(pool), &spec);
    if (!status.ok()) return status;
    externalscaler::GetMetricsRequest request;
    *request.mutable_scaledobjectref() = RefTo(pool);
    request.set_metricname(spec.metricspecs(0).metricname());
    externalscaler::GetMetricsResponse response;
    const grpc::Status answer = stub_->GetMetrics(&other_context, request, &response);
    if (!answer.ok()) return answer;
    EXPECT_EQ(response.metricvalues(0).metricname(), spec.metricspecs(0).metricname());
    workers = response.metricvalues(0).metricvaluefloat() / spec.metricspecs(0).targetsizefloat();
    return answer;
  }
  bool Becomes(const std::string& pool, double expected) {
    return Eventually([&] {
      double workers = -1;
      return Ask(pool, workers).ok() && workers == expected;
    });
  }
  std::string PageOf(const std::string& path) {
    const auto reply = http::Get({http_}, path, kPatience);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? reply->body : "";
  }

  ScratchFolder folder_;
  FakeRouter router_;
  std::unique_ptr<Process> planner_;
  config::Address http_;
  std::unique_ptr<externalscaler::ExternalScaler::Stub> stub_;
};

TEST_F(PlannerTest, KedaIsToldWhatARoutersQueueNeedsAndThePagesSayWhy) {
  router_.SetWorkers(1, 1);
  router_.SetQueued(192);  // three batches of 64
  Start({"--router", router_.address(), "--decode-max", "8"});
  ASSERT_TRUE(Becomes("decode", 3)) << planner_->log();
  EXPECT_TRUE(Becomes("prefill", 1));
  const auto decode = nlohmann::json::parse(PageOf("/plan"))["plan"]["pools"]["decode"];
  EXPECT_EQ(decode["desired"], 3);
  EXPECT_EQ(decode["reason"], "queue");
  EXPECT_EQ(decode["present"], 1);
  const telemetry::MetricsText metrics(PageOf("/metrics"));
  EXPECT_EQ(metrics.Sum("baton_planner_desired_replicas"), 4);
  EXPECT_EQ(metrics.Sum("baton_planner_routers"), 1);
  EXPECT_NE(planner_->log().find("decided"), std::string::npos);
  planner_->Signal(SIGTERM);
  EXPECT_EQ(planner_->Wait(), 0);
}

TEST_F(PlannerTest, AStreamTellsKedaToWakeAPoolThatSleeps) {
  Start({"--router", router_.address(), "--decode-min", "0", "--prefill-min", "0"});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stream = stub_->StreamIsActive(&context, RefTo("decode"));
  externalscaler::IsActiveResponse response;
  ASSERT_TRUE(stream->Read(&response)) << planner_->log();
  EXPECT_FALSE(response.result());
  router_.SetQueued(1);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(response.result());
  double workers = 0;
  ASSERT_TRUE(Ask("decode", workers).ok());
  EXPECT_EQ(workers, 1);
  externalscaler::IsActiveResponse asked;
  grpc::ClientContext other_context;
  ASSERT_TRUE(stub_->IsActive(&other_context, RefTo("prefill"), &asked).ok());
  EXPECT_TRUE(asked.result());
  // An open stream does not keep it from leaving.
  planner_->Signal(SIGTERM);
  EXPECT_EQ(planner_->Wait(), 0);
}

TEST_F(PlannerTest, WithoutRoutersKedaIsToldThatNobodyKnows) {
  Start({"--router", "127.0.0.1:1"});
  double workers = 0;
  EXPECT_EQ(Ask("decode", workers).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(http::Get({http_}, "/health/ready", kPatience)->status, 503);
  EXPECT_EQ(http::Get({http_}, "/health/live", kPatience)->status, 200);
}

TEST_F(PlannerTest, ATriggerThatNamesNoPoolIsRefusedWithASentence) {
  Start({"--router", router_.address()});
  double workers = 0;
  const grpc::Status status = Ask("embedding", workers);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "serving/demo-embedding: the trigger's metadata must have pool: prefill or decode, got "
            "'embedding'");
}

TEST_F(PlannerTest, ADryRunPublishesAndLeavesThingsAsTheyAre) {
  router_.SetWorkers(2, 1);
  router_.SetQueued(192);
  Start({"--router", router_.address(), "--dry-run"});
  ASSERT_TRUE(Becomes("decode", 1)) << planner_->log();
  ASSERT_TRUE(Becomes("prefill", 2));
  const auto page = nlohmann::json::parse(PageOf("/plan"));
  EXPECT_EQ(page["dry_run"], true);
  EXPECT_EQ(page["plan"]["pools"]["decode"]["desired"], 3);
}

TEST_F(PlannerTest, OptionsThatDoNotGoTogetherEndItWithASentence) {
  Process planner("baton-planner", {"--prefill-min", "5", "--prefill-max", "2"});
  EXPECT_EQ(planner.Wait(), 78);
  EXPECT_NE(planner.log().find("planner.prefill_min is 5, more than planner.prefill_max, 2"),
            std::string::npos)
      << planner.log();
}

}  // namespace
}  // namespace baton::testing
