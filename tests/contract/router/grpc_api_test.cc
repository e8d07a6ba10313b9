#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/channel.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

class GrpcApiTest : public ::testing::Test {
 protected:
  static v1::GenerateRequest Request() {
    v1::GenerateRequest request;
    request.set_text("x");
    return request;
  }
  struct Answer {
    std::vector<v1::GenerateEvent> events;
    grpc::Status status;
    std::string text(int index) const {
      std::string text;
      for (const auto& event : events) {
        if (event.has_delta() && event.delta().index() == index) text += event.delta().text();
      }
      return text;
    }
  };
  Answer Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    auto stream = stub_->Generate(&context, request);
    Answer answer;
    v1::GenerateEvent event;
    while (stream->Read(&event)) answer.events.push_back(event);
    answer.status = stream->Finish();
    const auto& trailers = context.GetServerTrailingMetadata();
    if (auto found = trailers.find("baton-field"); found != trailers.end()) {
      field_ = std::string(found->second.data(), found->second.size());
    }
    return answer;
  }

  RouterCluster cluster_;
  RouterCluster::Decode decode_ = cluster_.AddDecode();
  std::unique_ptr<v1::Inference::Stub> stub_ =
      v1::Inference::NewStub(rpc::PeerChannel(cluster_.grpc()));
  std::string field_;
};

TEST_F(GrpcApiTest, EventsComeInTheOrderOfTheContract) {
  decode_.worker->AnswerAll(cluster_.Tokens("ab"), v1::FINISH_REASON_LENGTH);
  v1::GenerateRequest request = Request();
  request.set_n(2);
  request.mutable_sampling()->set_seed(9);
  request.set_return_token_ids(true);
  const Answer answer = Generate(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_TRUE(answer.events.front().has_started());
  EXPECT_EQ(answer.events.front().started().seed(), 9u);
  EXPECT_EQ(answer.events.front().started().decode_worker(), "decode-0");
  EXPECT_TRUE(answer.events.back().has_usage());
  EXPECT_EQ(answer.text(0), "ab");
  EXPECT_EQ(answer.text(1), "ab");
  EXPECT_GT(answer.events[1].delta().tokens_size(), 0);
}

TEST_F(GrpcApiTest, BothDoorsRefuseTheSameThingInTheSameWords) {
  v1::GenerateRequest request = Request();
  request.mutable_sampling()->set_top_p(1.5f);
  const Answer answer = Generate(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(field_, "top_p");
  const auto http = cluster_.Post("/v1/completions", R"({"prompt":"x","top_p":1.5})").json();
  EXPECT_EQ(answer.status.error_message(), http["error"]["message"].get<std::string>());

  request = Request();
  request.set_model("other");
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::NOT_FOUND);
  request = Request();
  request.mutable_chat()->add_messages()->set_role("king");
  EXPECT_THAT(Generate(request).status.error_message(), HasSubstr("messages[0].role"));
  EXPECT_THAT(Generate(v1::GenerateRequest()).status.error_message(), HasSubstr("prompt"));
}

TEST_F(GrpcApiTest, CancellingTheCallFreesTheWork) {
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, Request());
  const std::string id = decode_.worker->WaitForSubmit().sequences(0).request_id();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(decode_.worker->WaitFor([&](const auto& seen) {
    return !seen.cancels.empty() && seen.cancels[0].request_id() == id;
  }));
  EXPECT_TRUE(cluster_.WaitInflight(0));
}

TEST_F(GrpcApiTest, TheCallersDeadlineReachesTheWorker) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  auto stream = stub_->Generate(&context, Request());
  EXPECT_GT(decode_.worker->WaitForSubmit().sequences(0).time_left_us(), 0);
  context.TryCancel();
  (void)stream->Finish();
}

TEST_F(GrpcApiTest, TokenizeDetokenizeAndModels) {
  grpc::ClientContext one, two, three;
  v1::TokenizeRequest tokenize;
  tokenize.set_text("a relay");
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(stub_->Tokenize(&one, tokenize, &tokens).ok());
  EXPECT_EQ(tokens.context_tokens_max(), 512);
  v1::DetokenizeRequest detokenize;
  *detokenize.mutable_ids() = tokens.ids();
  detokenize.set_skip_special_tokens(true);
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&two, detokenize, &text).ok());
  EXPECT_EQ(text.text(), "a relay");
  v1::ListModelsResponse models;
  ASSERT_TRUE(stub_->ListModels(&three, {}, &models).ok());
  EXPECT_EQ(models.models(0).id(), "test-model");
}

}  // namespace
}  // namespace baton::router
