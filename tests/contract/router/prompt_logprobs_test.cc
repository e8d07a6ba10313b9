// Log-probabilities of the prompt's tokens, as clients of both doors meet them. The test is the
// worker: it says what a real one says, in as many pieces as it likes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/channel.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

class PromptLogprobsTest : public ::testing::Test {
 protected:
  // What the worker says of a prompt token at `index`: -1, -2, … and two that are likelier.
  static v1::GeneratedToken Scored(const v1::Sequence& sequence, int index) {
    v1::GeneratedToken token;
    token.set_token(sequence.prompt(index));
    if (index == 0) return token;
    token.set_logprob(static_cast<float>(-index));
    for (int rival = 0; rival < sequence.sampling().prompt_logprobs(); ++rival) {
      v1::TokenChance* chance = token.add_top();
      chance->set_token(sequence.prompt(0) + rival);  // of the prompt's kind, with a text
      chance->set_logprob(-0.25f * static_cast<float>(rival + 1));
    }
    return token;
  }

  // Prompt tokens [first, last), then perhaps an end with these tokens.
  static v1::DecodeEvent Event(const v1::Sequence& sequence, int first, int last,
                               const std::vector<int32_t>& tokens = {},
                               v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED) {
    v1::DecodeEvent event;
    v1::SequenceDelta* delta = event.add_deltas();
    delta->set_request_id(sequence.request_id());
    delta->set_choice(sequence.choice());
    for (int i = first; i < last; ++i) *delta->add_prompt() = Scored(sequence, i);
    for (const int32_t id : tokens) {
      delta->add_tokens()->set_token(id);
      delta->mutable_tokens(delta->tokens_size() - 1)->set_logprob(-0.5f);
    }
    delta->set_finish(finish);
    return event;
  }

  // The call's answer, while the worker scores the prompt in two pieces and ends every choice.
  RawResponse Answer(const std::string& body, const std::vector<int32_t>& tokens,
                     v1::FinishReason finish = v1::FINISH_REASON_LENGTH) {
    RawHttp http(cluster_.http());
    http.Write(RawRequest("POST", kText, body));
    submit_ = decode_.worker->WaitForSubmit(calls_++);
    const v1::Sequence& first = submit_.sequences(0);
    const int size = first.prompt_size();
    EXPECT_TRUE(decode_.worker->Send(Event(first, 0, size / 2)));
    EXPECT_TRUE(decode_.worker->Send(Event(first, size / 2, size, tokens, finish)));
    for (int choice = 1; choice < submit_.sequences_size(); ++choice) {
      EXPECT_TRUE(decode_.worker->Send(Event(submit_.sequences(choice), 0, 0, tokens, finish)));
    }
    const auto response = http.Read();
    EXPECT_TRUE(response.has_value());
    return response.value_or(RawResponse());
  }

  RouterCluster cluster_;
  RouterCluster::Decode decode_ = cluster_.AddDecode();
  v1::SubmitSequences submit_;
  size_t calls_ = 0;
};

TEST_F(PromptLogprobsTest, CoverPromptAndOutputInOpenAisShape) {
  const auto ids = cluster_.Tokens("héy");
  const Json choice =
      Answer(Json{{"prompt", ids}, {"echo", true}, {"logprobs", 1}}.dump(), cluster_.Tokens("z"))
          .json()["choices"][0];
  EXPECT_EQ(choice["text"], "héyz");
  const Json& logprobs = choice["logprobs"];
  const size_t count = ids.size() + 1;
  for (const char* field : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    EXPECT_EQ(logprobs[field].size(), count) << field;
  }
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][1], -1.0);
  EXPECT_EQ(logprobs["top_logprobs"][1]["h"], -0.25);
  EXPECT_EQ(logprobs["token_logprobs"].back(), -0.5);
  EXPECT_EQ(logprobs["tokens"].front(), "h");
  // Characters, not bytes, whatever pieces "é" comes in.
  EXPECT_EQ(logprobs["text_offset"].front(), 0);
  EXPECT_EQ(logprobs["text_offset"][1], 1);
  EXPECT_EQ(logprobs["text_offset"][count - 2], 2);
  EXPECT_EQ(logprobs["text_offset"].back(), 3);
  EXPECT_EQ(submit_.sequences(0).sampling().prompt_logprobs(), 1);
}

TEST_F(PromptLogprobsTest, NoTokensMeansScoringOnly) {
  const RawResponse response =
      Answer(R"({"prompt":"abc","echo":true,"logprobs":0,"max_tokens":0})", {});
  const Json answer = response.json();
  EXPECT_EQ(answer["choices"][0]["text"], "abc");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 0);
  EXPECT_EQ(answer["choices"][0]["logprobs"]["tokens"].size(), answer["usage"]["prompt_tokens"]);
  EXPECT_TRUE(submit_.sequences(0).sampling().has_max_tokens());
  EXPECT_EQ(submit_.sequences(0).sampling().max_tokens(), 0);
}

// Harnesses ask for one token and take it off again, whatever it is.
TEST_F(PromptLogprobsTest, TheTokenThatEndedTheChoiceIsListed) {
  const Json choice = Answer(R"({"prompt":"abc","echo":true,"logprobs":1,"max_tokens":1})", {562},
                             v1::FINISH_REASON_STOP)
                          .json()["choices"][0];
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["logprobs"]["tokens"].back(), "<|im_end|>");
  EXPECT_EQ(choice["logprobs"]["text_offset"].back(), 3);
}

TEST_F(PromptLogprobsTest, EveryChoiceHasThemAndOneSequenceMakesThem) {
  const Json answer =
      Answer(R"({"prompt":"abc","echo":true,"logprobs":1,"n":3})", cluster_.Tokens("z")).json();
  ASSERT_EQ(submit_.sequences_size(), 3);
  EXPECT_TRUE(submit_.sequences(0).sampling().has_prompt_logprobs());
  EXPECT_FALSE(submit_.sequences(1).sampling().has_prompt_logprobs());
  EXPECT_FALSE(submit_.sequences(2).sampling().has_prompt_logprobs());
  for (int choice = 1; choice < 3; ++choice) {
    EXPECT_EQ(answer["choices"][choice]["logprobs"], answer["choices"][0]["logprobs"]);
    EXPECT_EQ(answer["choices"][choice]["text"], "abcz");
  }
}

TEST_F(PromptLogprobsTest, AStreamBringsThemChunkByChunkAsAWholeAnswerHasThem) {
  const std::string fields = R"("prompt":"schön","echo":true,"logprobs":2,"seed":1)";
  const Json whole =
      Answer("{" + fields + "}", cluster_.Tokens("er")).json()["choices"][0]["logprobs"];
  const auto events =
      SseData(Answer("{" + fields + R"(,"stream":true})", cluster_.Tokens("er")).body);
  Json joined{{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  std::string text;
  int chunks = 0;
  for (const std::string& event : events) {
    if (event == "[DONE]") continue;
    const Json choice = Json::parse(event)["choices"][0];
    text += choice["text"].get<std::string>();
    if (choice["logprobs"].is_null()) continue;
    ++chunks;
    for (auto& [name, list] : joined.items()) {
      for (const Json& value : choice["logprobs"][name]) list.push_back(value);
    }
  }
  EXPECT_EQ(text, "schöner");
  EXPECT_GE(chunks, 2);
  EXPECT_EQ(joined, whole);
}

TEST_F(PromptLogprobsTest, AStopStringIsNotLookedForInThePrompt) {
  const Json choice = Answer(R"({"prompt":"a STOP b","echo":true,"logprobs":0,"stop":"STOP"})",
                             cluster_.Tokens(" c"))
                          .json()["choices"][0];
  EXPECT_EQ(choice["text"], "a STOP b c");
  EXPECT_EQ(choice["finish_reason"], "length");
}

TEST_F(PromptLogprobsTest, BeyondTheLimitItIs400WithBothNumbers) {
  const std::string prompt(500, 'x');
  const auto post = [&](int prompts) {
    Json body{{"prompt", std::vector<std::string>(prompts, prompt)},
              {"echo", true},
              {"logprobs", 20},
              {"n", 16},
              {"max_tokens", 0}};
    return cluster_.Post(kText, body.dump());
  };
  const RawResponse response = post(2);
  EXPECT_EQ(response.status, 400);
  const Json error = response.json()["error"];
  EXPECT_EQ(error["param"], "logprobs");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("at most 262144"));
  EXPECT_TRUE(decode_.worker->seen().submits.empty());
}

// Most of a prompt may be scored before the client reads anything: that is not its fault.
TEST_F(PromptLogprobsTest, AStreamMayBeLongerThanTheBufferOfASlowClient) {
  config::RouterOptions options;
  options.stream_buffer_bytes_max = config::KiB(16);
  RouterCluster small(options);
  auto decode = small.AddDecode();
  RawHttp http(small.http());
  http.Write(RawRequest("POST", kText,
                        Json{{"prompt", std::string(400, 'x')},
                             {"echo", true},
                             {"logprobs", 10},
                             {"max_tokens", 0},
                             {"stream", true}}
                            .dump()));
  const v1::Sequence sequence = decode.worker->WaitForSubmit().sequences(0);
  EXPECT_TRUE(decode.worker->Send(
      Event(sequence, 0, sequence.prompt_size(), {}, v1::FINISH_REASON_LENGTH)));
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_GT(response->body.size(), 16u << 10);
  EXPECT_EQ(SseData(response->body).back(), "[DONE]");
}

// What the client has is never sent again, and what it lacks comes from the second worker.
TEST_F(PromptLogprobsTest, AWorkerLostInThePromptIsReplacedUnnoticed) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":"abcdef","echo":true,"logprobs":0})"));
  const v1::Sequence first = decode_.worker->WaitForSubmit().sequences(0);
  EXPECT_TRUE(decode_.worker->Send(Event(first, 0, 3)));
  RouterCluster::Decode second = cluster_.AddDecode("decode-1");
  EXPECT_TRUE(decode_.worker->Error(first.request_id(), 0, 14, "lost"));
  const v1::Sequence again = second.worker->WaitForSubmit().sequences(0);
  EXPECT_TRUE(second.worker->Send(Event(again, 0, 2)));
  EXPECT_TRUE(second.worker->Send(
      Event(again, 2, again.prompt_size(), cluster_.Tokens("z"), v1::FINISH_REASON_LENGTH)));
  const Json choice = http.Read()->json()["choices"][0];
  EXPECT_EQ(choice["text"], "abcdefz");
  EXPECT_EQ(choice["logprobs"]["tokens"].size(), size_t(again.prompt_size()) + 1);
}

TEST_F(PromptLogprobsTest, AWorkerThatScoresAnotherPromptIsNotBelieved) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":"abc","echo":true,"logprobs":0})"));
  v1::Sequence sequence = decode_.worker->WaitForSubmit().sequences(0);
  sequence.set_prompt(1, sequence.prompt(1) + 1);
  EXPECT_TRUE(decode_.worker->Send(Event(sequence, 0, 2)));
  EXPECT_GE(http.Read()->status, 500);
}

TEST_F(PromptLogprobsTest, OutputBeforeTheWholePromptIsAnError) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":"abc","echo":true,"logprobs":0})"));
  const v1::Sequence sequence = decode_.worker->WaitForSubmit().sequences(0);
  EXPECT_TRUE(decode_.worker->Send(Event(sequence, 0, 2, cluster_.Tokens("z"))));
  EXPECT_GE(http.Read()->status, 500);
}

TEST_F(PromptLogprobsTest, OverGrpcTheyAreAFieldOfTheirOwn) {
  auto stub = v1::Inference::NewStub(rpc::PeerChannel(cluster_.grpc()));
  v1::GenerateRequest request;
  request.set_text("abc");
  request.mutable_sampling()->set_prompt_logprobs(1);
  request.mutable_sampling()->set_max_tokens(1);
  grpc::ClientContext context;
  auto stream = stub->Generate(&context, request);
  const v1::Sequence sequence = decode_.worker->WaitForSubmit().sequences(0);
  const int size = sequence.prompt_size();
  EXPECT_TRUE(decode_.worker->Send(Event(sequence, 0, 1)));
  EXPECT_TRUE(decode_.worker->Send(
      Event(sequence, 1, size, cluster_.Tokens("z"), v1::FINISH_REASON_LENGTH)));
  std::vector<v1::GeneratedToken> prompt;
  std::string text;
  v1::GenerateEvent event;
  while (stream->Read(&event)) {
    if (!event.has_delta()) continue;
    for (const auto& token : event.delta().prompt()) prompt.push_back(token);
    EXPECT_EQ(event.delta().tokens_size(), 0) << "nobody asked for these";
    text += event.delta().text();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(text, "z") << "no echo was asked for";
  ASSERT_EQ(prompt.size(), size_t(size));
  EXPECT_FALSE(prompt[0].has_logprob());
  EXPECT_EQ(prompt[1].logprob(), -1);
  EXPECT_EQ(prompt[1].top_size(), 1);
}

TEST_F(PromptLogprobsTest, OverGrpcNothingToGenerateNeedsAReason) {
  auto stub = v1::Inference::NewStub(rpc::PeerChannel(cluster_.grpc()));
  v1::GenerateRequest request;
  request.set_text("abc");
  request.mutable_sampling()->set_max_tokens(0);
  grpc::ClientContext context;
  auto stream = stub->Generate(&context, request);
  v1::GenerateEvent event;
  EXPECT_FALSE(stream->Read(&event));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("max_tokens must be at least 1"));
}

}  // namespace
}  // namespace baton::router
