// Who may speak at the doors where there are keys.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/channel.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Headers = std::vector<std::pair<std::string, std::string>>;

constexpr char kGold[] = "sk-gold-0123456789";
constexpr char kFree[] = "sk-free-0123456789";

Headers With(const std::string& key) { return {{"Authorization", "Bearer " + key}}; }

class AccessTest : public ::testing::Test {
 protected:
  static std::string KeysFile() { return ::testing::TempDir() + "/access_test_keys"; }
  static void WriteKeys(const std::string& text) {
    const std::string fresh = KeysFile() + ".new";
    std::ofstream(fresh) << text;
    std::rename(fresh.c_str(), KeysFile().c_str());
  }
  static config::RouterOptions WithKeys() {
    WriteKeys(std::string(kGold) + " gold\n" + kFree + "\n");
    config::RouterOptions options;
    options.api_keys_file = KeysFile();
    options.queue.tenants = {{"gold", 3}};
    return options;
  }
  RawResponse Ask(const std::string& path, const Headers& headers) {
    return Call(cluster_.http(), "POST", path, R"({"prompt":"x"})", headers);
  }
  grpc::Status Models(const std::string& key) {
    grpc::ClientContext context;
    if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
    v1::ListModelsResponse models;
    return stub_->ListModels(&context, {}, &models);
  }
  grpc::Status Generate(const std::string& key) {
    grpc::ClientContext context;
    if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
    v1::GenerateRequest request;
    request.set_text("x");
    const auto stream = stub_->Generate(&context, request);
    v1::GenerateEvent event;
    while (stream->Read(&event)) {
    }
    return stream->Finish();
  }

  RouterCluster cluster_{WithKeys()};
  RouterCluster::Decode decode_ = cluster_.AddDecode();
  std::unique_ptr<v1::Inference::Stub> stub_ =
      v1::Inference::NewStub(rpc::PeerChannel(cluster_.grpc()));
};

TEST_F(AccessTest, WithoutAKeyOrWithAWrongOneTheAnswerIs401AndSaysWhy) {
  const RawResponse none = Ask(kText, {});
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(none.json()["error"]["code"], "missing_api_key");
  EXPECT_EQ(none.json()["error"]["type"], "invalid_request_error");
  EXPECT_THAT(none.json()["error"]["message"].get<std::string>(),
              HasSubstr("Authorization: Bearer KEY"));
  const RawResponse wrong = Ask(kText, With("sk-nobody-knows-this"));
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(wrong.json()["error"]["code"], "invalid_api_key");
  EXPECT_THAT(wrong.body, Not(HasSubstr("sk-nobody-knows-this")));
  for (const char* path : {kChat, "/tokenize", "/detokenize"}) {
    EXPECT_EQ(Ask(path, {}).status, 401) << path;
  }
  EXPECT_EQ(cluster_.Get("/v1/models").status, 401);
  EXPECT_EQ(cluster_.Get("/v1/models/test-model").status, 401);
}

TEST_F(AccessTest, TheTenantIsTheKeysAndNotTheOneClaimed) {
  decode_.worker->AnswerAll(cluster_.Tokens("ok"), v1::FINISH_REASON_LENGTH);
  Headers free = With(kFree);
  free.emplace_back("X-Baton-Tenant", "gold");
  free.emplace_back("X-Request-Id", "claims-gold");
  ASSERT_EQ(Ask(kText, free).status, 200);
  EXPECT_EQ(cluster_.Get("/debug/requests/claims-gold").json()["tenant"], "default");
  Headers gold = With(kGold);
  gold.emplace_back("X-Request-Id", "has-gold");
  ASSERT_EQ(Ask(kText, gold).status, 200);
  EXPECT_EQ(cluster_.Get("/debug/requests/has-gold").json()["tenant"], "gold");
}

TEST_F(AccessTest, TheGrpcDoorAsksForTheSameKeys) {
  decode_.worker->AnswerAll(cluster_.Tokens("ok"), v1::FINISH_REASON_LENGTH);
  for (const std::string key : {"", "sk-nobody-knows-this"}) {
    EXPECT_EQ(Models(key).error_code(), grpc::StatusCode::UNAUTHENTICATED) << key;
    EXPECT_EQ(Generate(key).error_code(), grpc::StatusCode::UNAUTHENTICATED) << key;
  }
  EXPECT_THAT(Generate("").error_message(), HasSubstr("an API key is missing"));
  EXPECT_TRUE(Models(kFree).ok());
  EXPECT_TRUE(Generate(kGold).ok());
}

TEST_F(AccessTest, AWebSocketIsOpenedWithAKeyOnly) {
  const Headers upgrade = {{"Upgrade", "websocket"},
                           {"Connection", "Upgrade"},
                           {"Sec-WebSocket-Version", "13"},
                           {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  EXPECT_EQ(Call(cluster_.http(), "GET", "/v1/ws", "", upgrade).status, 401);
  Headers with_key = upgrade;
  with_key.push_back(With(kGold).front());
  EXPECT_EQ(Call(cluster_.http(), "GET", "/v1/ws", "", with_key).status, 101);
  EXPECT_EQ(Call(cluster_.http(), "GET", "/v1/other", "", upgrade).status, 404);
}

TEST_F(AccessTest, HealthAndMetricsAreOpenAndTheDebugPagesOnThisMachine) {
  const Headers elsewhere = {{"X-Forwarded-For", "192.0.2.1"}};
  for (const char* path : {"/health/live", "/health/ready", "/metrics"}) {
    EXPECT_EQ(Call(cluster_.http(), "GET", path, "", elsewhere).status, 200) << path;
  }
  for (const char* path : {"/debug/cluster", "/debug/requests", "/admin/placement"}) {
    EXPECT_EQ(Call(cluster_.http(), "GET", path).status, 200) << path;
    EXPECT_EQ(Call(cluster_.http(), "GET", path, "", elsewhere).status, 401) << path;
  }
  Headers with_key = elsewhere;
  with_key.push_back(With(kFree).front());
  EXPECT_EQ(Call(cluster_.http(), "GET", "/debug/cluster", "", with_key).status, 200);
  EXPECT_EQ(Call(cluster_.http(), "GET", "/admin/placement", "", with_key).status, 403);
}

TEST_F(AccessTest, AKeyThatIsTakenAwayIsRefusedWithoutARestart) {
  EXPECT_TRUE(Models(kFree).ok());
  WriteKeys(std::string(kGold) + " gold\n");
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (Models(kFree).ok() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(Models(kFree).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Models(kGold).ok());
}

TEST(AccessStartTest, ARouterWhoseKeysAreMissingDoesNotStart) {
  config::RouterOptions options;
  options.api_keys_file = "/no/such/file";
  const auto router = Router::Start(options, {}, Clock::Real());
  EXPECT_EQ(router.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(router.status()), HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace baton::router
