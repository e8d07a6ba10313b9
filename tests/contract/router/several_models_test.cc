#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/queue_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

config::RouterOptions TwoModels() {
  config::RouterOptions options;
  options.models = {{"coder", "a folder"}};
  options.queue.batch_ahead_percent = 0;
  return options;
}

RouterCluster::Decode AddDecode(RouterCluster& cluster, const std::string& id,
                                const std::string& model) {
  return cluster.AddDecode(id, [&](v1::Registration& registration) {
    registration.set_model(model);
    registration.set_batch_sequences_max(1);
  });
}

std::string Asking(const std::string& model) {
  return R"({"model":")" + model + R"(","prompt":"x","max_tokens":1,"stream":true})";
}

TEST(SeveralModelsTest, ARequestGoesToTheWorkersOfItsModel) {
  RouterCluster cluster(TwoModels());
  auto chat = AddDecode(cluster, "decode-0", "test-model");
  auto code = AddDecode(cluster, "decode-1", "coder");
  chat.worker->AnswerAll(cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  code.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  ASSERT_TRUE(cluster.WaitFor([](const auto& page) {
    return page["workers"].size() == 2 && page["workers"][0]["reachable"] &&
           page["workers"][1]["reachable"];
  }));
  for (const auto& [model, text] : {std::pair("test-model", "a"), std::pair("coder", "b")}) {
    const auto answer =
        cluster.Post("/v1/completions", R"({"model":")" + std::string(model) + R"(","prompt":"x"})")
            .json();
    EXPECT_EQ(answer["model"], model);
    EXPECT_EQ(answer["choices"][0]["text"], text);
  }
  EXPECT_EQ(cluster.Get("/v1/models").json()["data"].size(), 2u);
}

TEST(SeveralModelsTest, ARequestHasToSayWhichOneItMeans) {
  RouterCluster cluster(TwoModels());
  const RawResponse unnamed = cluster.Post("/v1/completions", R"({"prompt":"x"})");
  EXPECT_EQ(unnamed.status, 400);
  EXPECT_EQ(unnamed.json()["error"]["param"], "model");
  EXPECT_THAT(unnamed.body, HasSubstr("coder"));
  EXPECT_EQ(cluster.Post("/v1/completions", R"({"model":"other","prompt":"x"})").status, 404);
}

TEST(SeveralModelsTest, AFullModelHoldsUpNobodyElses) {
  RouterCluster cluster(TwoModels());
  auto chat = AddDecode(cluster, "decode-0", "test-model");
  auto code = AddDecode(cluster, "decode-1", "coder");
  ASSERT_TRUE(cluster.WaitFor([](const auto& page) {
    return page["workers"].size() == 2 && page["workers"][0]["reachable"] &&
           page["workers"][1]["reachable"];
  }));
  RawHttp first(cluster.http()), second(cluster.http()), third(cluster.http());
  first.Write(RawRequest("POST", "/v1/completions", Asking("test-model")));
  const std::string running = chat.worker->WaitForSubmit().sequences(0).request_id();
  second.Write(RawRequest("POST", "/v1/completions", Asking("test-model")));
  ASSERT_TRUE(cluster.WaitFor([](const auto& page) { return page["queue"]["waiting"] == 1; }));
  EXPECT_EQ(cluster.DebugCluster()["queue"]["lines"][0]["model"], "test-model");

  third.Write(RawRequest("POST", "/v1/completions", Asking("coder")));
  const std::string other = code.worker->WaitForSubmit().sequences(0).request_id();
  code.worker->Tokens(other, 0, cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(third.ReadUntil("[DONE]"), HasSubstr("\"b\""));
  chat.worker->Tokens(running, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  const std::string next = chat.worker->WaitForSubmit(1).sequences(0).request_id();
  chat.worker->Tokens(next, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(second.ReadUntil("[DONE]"), HasSubstr("\"a\""));
}

}  // namespace
}  // namespace baton::router
