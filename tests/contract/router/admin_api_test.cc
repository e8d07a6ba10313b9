// /admin/placement, and what a changed policy does to the requests after it.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <set>
#include <thread>

#include "baton/v1/inference.grpc.pb.h"
#include "common/config/cluster_options.h"
#include "common/rpc/channel.h"
#include "services/router/placement/policies.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

constexpr char kPlacement[] = "/admin/placement";

class AdminApiTest : public ::testing::Test {
 protected:
  explicit AdminApiTest(const config::RouterOptions& options = {}) : cluster_(options) {}

  RawResponse Put(const std::string& body,
                  const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    return Call(cluster_.http(), "PUT", kPlacement, body, headers);
  }
  Json Setting() { return Call(cluster_.http(), "GET", kPlacement).json(); }
  Json RouterNow() { return cluster_.DebugCluster()["router"]; }
  // The decision on a request of `user`. It may be noted a moment after the answer.
  Json DecisionFor(const std::string& user) {
    const std::string id = "request-" + std::to_string(++requests_);
    const RawResponse answer =
        Call(cluster_.http(), "POST", "/v1/completions",
             R"({"prompt":"x","max_tokens":1,"user":")" + user + "\"}", {{"X-Request-Id", id}});
    EXPECT_EQ(answer.status, 200) << answer.body;
    for (int i = 0; i < 1000; ++i) {
      const Json debug = cluster_.DebugCluster();
      for (const Json& decision : debug["decisions"]) {
        if (decision["request"].get<std::string>().starts_with(id + "-")) return decision;
      }
    }
    ADD_FAILURE() << "no decision on " << id;
    return {};
  }
  RouterCluster::Decode AddAnswering(const std::string& id) {
    RouterCluster::Decode decode = cluster_.AddDecode(id);
    decode.worker->AnswerAll(cluster_.Tokens("a"), v1::FINISH_REASON_LENGTH);
    return decode;
  }

  RouterCluster cluster_;
  int requests_ = 0;
};

TEST_F(AdminApiTest, ShowsThePolicyAndALineOnEachThereIs) {
  const Json setting = Setting();
  EXPECT_EQ(setting["policy"], "cost");
  EXPECT_EQ(setting["models"].dump(), "{}");
  ASSERT_EQ(setting["policies"].size(), PolicyKinds().size());
  EXPECT_EQ(setting["policies"][0]["name"], "cost");
  for (const auto& policy : setting["policies"]) EXPECT_FALSE(policy["summary"].empty());
}

TEST_F(AdminApiTest, AChangedPolicyDecidesFromTheNextRequestOnAndIsSeenInTheDebugPage) {
  const auto decode = AddAnswering("decode-0");
  EXPECT_EQ(DecisionFor("ann")["policy"], "cost");
  const RawResponse changed = Put(R"({"policy":"round-robin"})");
  EXPECT_EQ(changed.status, 200) << changed.body;
  EXPECT_EQ(changed.json()["policy"], "round-robin");
  EXPECT_EQ(RouterNow()["placement"], "round-robin");
  EXPECT_EQ(DecisionFor("ann")["policy"], "round-robin");
}

TEST_F(AdminApiTest, AModelCanHaveAPolicyOfItsOwnUntilItIsTakenBack) {
  const auto decode = AddAnswering("decode-0");
  EXPECT_EQ(Put(R"({"policy":"least-kv","model":"test-model"})").status, 200);
  EXPECT_EQ(Setting()["policy"], "cost");
  EXPECT_EQ(RouterNow()["model_placement"]["test-model"], "least-kv");
  EXPECT_EQ(DecisionFor("ann")["policy"], "least-kv");
  EXPECT_EQ(Put(R"({"policy":"random"})").status, 200);
  EXPECT_EQ(DecisionFor("ann")["policy"], "least-kv");
  EXPECT_EQ(Put(R"({"policy":"default","model":"test-model"})").status, 200);
  EXPECT_EQ(Setting()["models"].dump(), "{}");
  EXPECT_EQ(DecisionFor("ann")["policy"], "random");
}

TEST_F(AdminApiTest, AnUnknownPolicyIsRefusedWithTheKnownOnesAndChangesNothing) {
  for (const char* body : {R"({"policy":"magic"})", R"({"policy":"magic","model":"test-model"})",
                           R"({"policy":"default"})", R"({"policy":"Cost"})"}) {
    const RawResponse refused = Put(body);
    ASSERT_EQ(refused.status, 400) << body;
    const Json error = refused.json()["error"];
    EXPECT_EQ(error["param"], "policy");
    for (const std::string_view name : PolicyNames()) {
      EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(std::string(name)));
    }
  }
  EXPECT_EQ(Setting()["policy"], "cost");
  EXPECT_EQ(Setting()["models"].dump(), "{}");
}

TEST_F(AdminApiTest, WhatIsNotUnderstoodChangesNothing) {
  const std::vector<std::tuple<const char*, int, const char*>> cases = {
      {R"({"policy":"random","model":"nobody"})", 404, "model"},
      {R"({"policy":"random","modell":"test-model"})", 400, "modell"},
      {R"({"model":"test-model"})", 400, "policy"},
      {R"({"policy":7})", 400, "policy"},
      {R"({"policy":null})", 400, "policy"}};
  for (const auto& [body, status, param] : cases) {
    const RawResponse refused = Put(body);
    EXPECT_EQ(refused.status, status) << body;
    EXPECT_EQ(refused.json()["error"]["param"], param) << body;
  }
  for (const char* body : {"", "random", "[]", R"({"policy":"random")"}) {
    EXPECT_EQ(Put(body).status, 400) << body;
  }
  EXPECT_EQ(Setting()["policy"], "cost");
}

TEST_F(AdminApiTest, OtherMethodsAreToldWhichOnesThereAre) {
  const RawResponse refused = cluster_.Post(kPlacement, R"({"policy":"random"})");
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(refused.headers.at("allow"), "GET, PUT, OPTIONS");
  EXPECT_EQ(Setting()["policy"], "cost");
}

TEST_F(AdminApiTest, PagesOfOtherHostsAndCallersBehindAProxyAreRefused) {
  const std::string body = R"({"policy":"random"})";
  EXPECT_EQ(Put(body, {{"Origin", "http://evil.example"}}).status, 403);
  EXPECT_EQ(Put(body, {{"X-Forwarded-For", "203.0.113.9"}}).status, 403);
  EXPECT_EQ(Put(body, {{"Forwarded", "for=203.0.113.9"}}).status, 403);
  EXPECT_EQ(Setting()["policy"], "cost");
  EXPECT_EQ(Put(body, {{"Origin", "http://localhost:3000"}}).status, 200);
}

TEST_F(AdminApiTest, EveryRequestIsAnsweredWhileThePolicyChanges) {
  const auto first = AddAnswering("decode-0");
  const auto second = AddAnswering("decode-1");
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 25; ++j) {
        const auto answer = cluster_.Post("/v1/completions", R"({"prompt":"x","max_tokens":1})");
        EXPECT_EQ(answer.status, 200) << answer.body;
      }
    });
  }
  for (int round = 0; round < 2; ++round) {
    for (const std::string_view name : PolicyNames()) {
      EXPECT_EQ(Put(R"({"policy":")" + std::string(name) + "\"}").status, 200);
    }
  }
  for (std::thread& client : clients) client.join();
}

TEST_F(AdminApiTest, ASessionKeepsItsWorkerThroughBothDoors) {
  std::vector<RouterCluster::Decode> workers;
  for (const char* id : {"decode-0", "decode-1", "decode-2"}) workers.push_back(AddAnswering(id));
  ASSERT_EQ(Put(R"({"policy":"session-affinity"})").status, 200);
  const auto stub = v1::Inference::NewStub(rpc::PeerChannel(cluster_.grpc()));
  std::set<std::string> used;
  // Few enough not to overload anybody: these workers never report that they are done.
  for (const std::string user : {"ann", "cat", "dan"}) {
    const std::string home = DecisionFor(user)["decode"];
    EXPECT_EQ(DecisionFor(user)["decode"], home);
    v1::GenerateRequest request;
    request.set_text("something else");
    request.set_user(user);
    request.mutable_sampling()->set_max_tokens(1);
    grpc::ClientContext context;
    auto stream = stub->Generate(&context, request);
    v1::GenerateEvent event;
    ASSERT_TRUE(stream->Read(&event));
    EXPECT_EQ(event.started().decode_worker(), home);
    while (stream->Read(&event)) {
    }
    EXPECT_TRUE(stream->Finish().ok());
    used.insert(home);
  }
  EXPECT_EQ(used.size(), 3u);
}

TEST_F(AdminApiTest, AWorkerIsAskedToDrainByItsNameOrId) {
  const auto first = cluster_.AddDecode("decode-0@1f");
  const auto second = cluster_.AddDecode("decode-1@2f");
  const auto drain = [&](const std::string& body) {
    return Call(cluster_.http(), "POST", "/admin/drain", body);
  };
  const RawResponse by_name = drain(R"({"worker":"decode-1"})");
  EXPECT_EQ(by_name.status, 202) << by_name.body;
  EXPECT_EQ(by_name.json()["worker"], "decode-1@2f");
  EXPECT_TRUE(second.attachment->WaitForDrainRequest());
  EXPECT_EQ(drain(R"({"worker":"decode-0@1f"})").status, 202);
  EXPECT_TRUE(first.attachment->WaitForDrainRequest());

  const RawResponse unknown = drain(R"({"worker":"decode-2"})");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("attached: decode-0@1f, decode-1@2f"));
  EXPECT_EQ(drain("{}").status, 400);
  EXPECT_THAT(drain(R"({"worker":"decode-0","now":true})").body, HasSubstr("now is not known"));
}

// An address by which this machine is reached from outside; empty: none.
std::string OutsideAddress() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "";
  std::string found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const bool up = (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0;
    if (!up || entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    found = inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
  }
  freeifaddrs(list);
  return found;
}

class AdminAccessTest : public ::testing::Test {
 protected:
  static int StatusFrom(const std::string& host, const RouterCluster& cluster) {
    const std::string address = cluster.http();
    return Call(host + address.substr(address.rfind(':')), "GET", kPlacement).status;
  }
  static config::RouterOptions With(config::AdminAccess access) {
    config::RouterOptions options;
    options.http.host = "0.0.0.0";
    options.admin = access;
    return options;
  }
};

TEST_F(AdminAccessTest, OnlyCallersOnThisMachineUnlessConfiguredOtherwise) {
  const std::string outside = OutsideAddress();
  if (outside.empty()) GTEST_SKIP() << "this machine has no address but loopback";
  const RouterCluster shut(With(config::RouterOptions().admin));
  EXPECT_EQ(StatusFrom("127.0.0.1", shut), 200);
  EXPECT_EQ(StatusFrom("127.0.0.2", shut), 200);
  EXPECT_EQ(StatusFrom(outside, shut), 403);
  const RouterCluster open(With(config::AdminAccess::kAny));
  EXPECT_EQ(StatusFrom("127.0.0.1", open), 200);
  EXPECT_EQ(StatusFrom(outside, open), 200);
}

TEST_F(AdminAccessTest, OffIsOffForEverybody) {
  RouterCluster cluster(With(config::AdminAccess::kOff));
  EXPECT_EQ(StatusFrom("127.0.0.1", cluster), 404);
  EXPECT_EQ(Call(cluster.http(), "PUT", kPlacement, R"({"policy":"random"})").status, 404);
  EXPECT_EQ(cluster.DebugCluster()["router"]["placement"], "cost");
}

class ModelPlacementTest : public AdminApiTest {
 protected:
  ModelPlacementTest()
      : AdminApiTest({.placement = "random", .model_placement = {{"test-model", "least-kv"}}}) {}
};

TEST_F(ModelPlacementTest, AModelsPolicyFromTheConfigurationIsInForce) {
  const auto decode = AddAnswering("decode-0");
  EXPECT_EQ(DecisionFor("ann")["policy"], "least-kv");
  EXPECT_EQ(Setting()["policy"], "random");
}

TEST(PlacementHelpTest, TheOptionsTextNamesEveryPolicy) {
  const config::ClusterOptions options;
  const std::string& help = options.section("router").Find("placement")->spec.help;
  for (const std::string_view name : PolicyNames()) {
    EXPECT_THAT(help, HasSubstr(std::string(name)));
  }
}

}  // namespace
}  // namespace baton::router
