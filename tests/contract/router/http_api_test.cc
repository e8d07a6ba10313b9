#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

class HttpApiTest : public ::testing::Test {
 protected:
  // The text of choice `index` in a stream, and whether its deltas are in order.
  static std::string TextOf(const std::vector<std::string>& events, int index) {
    std::string text;
    for (const std::string& event : events) {
      if (event == "[DONE]") continue;
      const Json chunk = Json::parse(event);
      for (const auto& choice : chunk["choices"]) {
        if (choice["index"] != index) continue;
        text += choice.contains("text") ? choice["text"].get<std::string>()
                                        : choice["delta"].value("content", "");
      }
    }
    return text;
  }
  std::vector<std::string> Stream(const char* path, const std::string& body) {
    const RawResponse response = cluster_.Post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
    return SseData(response.body);
  }

  RouterCluster cluster_;
  RouterCluster::Decode decode_ = cluster_.AddDecode();
};

TEST_F(HttpApiTest, AChatStreamHasOpenAisShapeExactly) {
  std::vector<int32_t> tokens = cluster_.Tokens("Hi");
  decode_.worker->AnswerAll(tokens, v1::FINISH_REASON_LENGTH);
  auto events = Stream(kChat, R"({"messages":[{"role":"user","content":"x"}],"stream":true,
                                  "stream_options":{"include_usage":true}})");
  ASSERT_EQ(events.size(), tokens.size() + 4);
  const Json first = Json::parse(events[0]);
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["model"], "test-model");
  EXPECT_EQ(first["choices"].dump(),
            R"([{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
            R"("finish_reason":null}])");
  EXPECT_TRUE(first["usage"].is_null());
  EXPECT_EQ(TextOf(events, 0), "Hi");
  EXPECT_EQ(events.back(), "[DONE]");
  const Json usage = Json::parse(events[events.size() - 2]);
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], tokens.size());
  const Json last = Json::parse(events[events.size() - 3]);
  EXPECT_EQ(last["choices"].dump(),
            R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}])");
}

TEST_F(HttpApiTest, AWholeChatAnswerCarriesTextReasonAndUsage) {
  std::vector<int32_t> tokens = cluster_.Tokens("Hello, wörld");
  const size_t count = tokens.size() + 1;
  tokens.push_back(562);  // <|im_end|> ends it and is not shown
  decode_.worker->AnswerAll(tokens, v1::FINISH_REASON_STOP);
  const Json answer =
      cluster_
          .Post(kChat, R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],
                               "seed":7})")
          .json();
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "Hello, wörld");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["usage"]["completion_tokens"], count);
  const v1::SubmitSequences submit = decode_.worker->WaitForSubmit();
  EXPECT_EQ(submit.sequences(0).sampling().seed(), 7u);
  EXPECT_GT(submit.sequences(0).sampling().max_tokens(), 400);  // to the end of the context
  EXPECT_EQ(answer["usage"]["prompt_tokens"], submit.sequences(0).prompt_size());
}

TEST_F(HttpApiTest, AStopStringAcrossTokensEndsTheChoiceAndTheWork) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":"a","stream":true,"stop":["END"]})"));
  const std::string id = decode_.worker->WaitForSubmit().sequences(0).request_id();
  EXPECT_EQ(decode_.worker->WaitForSubmit().sequences(0).sampling().stop_size(), 0);
  for (const char* piece : {"one E", "N", "D two"}) {
    for (const int32_t token : cluster_.Tokens(piece)) decode_.worker->Tokens(id, 0, {token});
  }
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  const auto events = SseData(response->body);
  EXPECT_EQ(TextOf(events, 0), "one ");
  const Json last = Json::parse(events[events.size() - 2]);
  EXPECT_EQ(last["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(last["choices"][0]["stop_reason"], "END");
  EXPECT_TRUE(decode_.worker->WaitFor([&](const auto& seen) {
    return !seen.cancels.empty() && seen.cancels[0].request_id() == id &&
           seen.cancels[0].choice() == 0;
  }));
}

TEST_F(HttpApiTest, ChoicesInterleaveAndKeepTheirOwnText) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":["p","q"],"n":2,"stream":true})"));
  const auto first = decode_.worker->WaitForSubmit(0);
  const auto second = decode_.worker->WaitForSubmit(1);
  ASSERT_EQ(first.sequences_size(), 2);
  EXPECT_EQ(first.sequences(1).sampling().seed(), first.sequences(0).sampling().seed() + 1);
  const std::string p = first.sequences(0).request_id();
  const std::string q = second.sequences(0).request_id();
  const auto say = [&](const std::string& id, int choice, const char* text, bool end) {
    decode_.worker->Tokens(id, choice, cluster_.Tokens(text),
                           end ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_UNSPECIFIED);
  };
  say(q, 1, "d", false), say(p, 0, "a", false), say(p, 1, "b", true), say(q, 0, "c", true);
  say(p, 0, "A", true), say(q, 1, "D", true);
  const auto events = SseData(http.Read()->body);
  EXPECT_EQ(TextOf(events, 0), "aA");
  EXPECT_EQ(TextOf(events, 1), "b");
  EXPECT_EQ(TextOf(events, 2), "c");
  EXPECT_EQ(TextOf(events, 3), "dD");
}

TEST_F(HttpApiTest, NoChunkHoldsHalfACharacter) {
  decode_.worker->AnswerAll(cluster_.Tokens("schön 🚀 传"), v1::FINISH_REASON_LENGTH);
  const auto events = Stream(kText, R"({"prompt":"a","stream":true})");
  EXPECT_EQ(TextOf(events, 0), "schön 🚀 传");
  for (const auto& event : events) EXPECT_EQ(event.find("\xEF\xBF\xBD"), std::string::npos);
}

TEST_F(HttpApiTest, EchoComesFirstAndTokensComeBackWhenAskedFor) {
  const auto tokens = cluster_.Tokens("xy");
  decode_.worker->AnswerAll(tokens, v1::FINISH_REASON_LENGTH);
  const Json answer = cluster_
                          .Post(kText, R"({"prompt":"Start ","echo":true,
                                               "return_token_ids":true})")
                          .json();
  EXPECT_EQ(answer["choices"][0]["text"], "Start xy");
  EXPECT_EQ(answer["choices"][0]["token_ids"].get<std::vector<int32_t>>(), tokens);
  EXPECT_EQ(decode_.worker->WaitForSubmit().sequences(0).sampling().max_tokens(), 16);
}

TEST_F(HttpApiTest, LogprobsHaveBothEndpointsShapes) {
  decode_.worker->AnswerAll(cluster_.Tokens("k"), v1::FINISH_REASON_LENGTH);
  const Json chat = cluster_
                        .Post(kChat, R"({"messages":[{"role":"user","content":"x"}],
                                             "logprobs":true,"top_logprobs":1})")
                        .json();
  const Json entry = chat["choices"][0]["logprobs"]["content"][0];
  EXPECT_EQ(entry["token"], "k");
  EXPECT_EQ(entry["logprob"], -0.5);
  EXPECT_EQ(entry["bytes"].dump(), "[107]");
  EXPECT_EQ(entry["top_logprobs"][0]["token"], "k");
  const Json text = cluster_.Post(kText, R"({"prompt":"x","logprobs":1})").json();
  EXPECT_EQ(text["choices"][0]["logprobs"].dump(),
            R"({"tokens":["k"],"token_logprobs":[-0.5],"top_logprobs":[{"k":-0.5}],)"
            R"("text_offset":[0]})");
}

TEST_F(HttpApiTest, TokenPromptsAreUsedAsTheyAre) {
  decode_.worker->AnswerAll(cluster_.Tokens("k"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(cluster_.Post(kText, R"({"prompt":[[5,6,7],[8]]})").json()["choices"].size(), 2u);
  const auto submit = decode_.worker->WaitForSubmit(0);
  EXPECT_THAT(submit.sequences(0).prompt(), ElementsAre(5, 6, 7));
}

TEST_F(HttpApiTest, TokenizeAndDetokenizeAreInverse) {
  const Json tokens = cluster_.Post("/tokenize", R"({"prompt":"a relay race"})").json();
  EXPECT_EQ(tokens["max_model_len"], 512);
  EXPECT_EQ(tokens["tokens"][0], 560);  // the tokenizer's own BOS
  const Json text =
      cluster_
          .Post("/detokenize",
                Json{{"tokens", tokens["tokens"]}, {"skip_special_tokens", true}}.dump())
          .json();
  EXPECT_EQ(text["prompt"], "a relay race");
}

TEST_F(HttpApiTest, ModelsHealthMetricsAndDebugAnswer) {
  const Json models = Call(cluster_.http(), "GET", "/v1/models").json();
  EXPECT_EQ(models["data"][0]["id"], "test-model");
  EXPECT_EQ(Call(cluster_.http(), "GET", "/v1/models/test-model").json()["object"], "model");
  EXPECT_EQ(Call(cluster_.http(), "GET", "/health/live").status, 200);
  EXPECT_EQ(Call(cluster_.http(), "GET", "/health/ready").status, 200);
  const RawResponse head = Call(cluster_.http(), "HEAD", "/v1/models");
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.headers.at("content-length"), "0");
  decode_.worker->AnswerAll(cluster_.Tokens("k"), v1::FINISH_REASON_LENGTH);
  cluster_.Post(kText, R"({"prompt":"x"})");
  const std::string metrics = Call(cluster_.http(), "GET", "/metrics").body;
  EXPECT_THAT(metrics,
              HasSubstr("baton_placement_decisions_total{reason=\"no_prefill_worker\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("baton_request_ttft_seconds_count{model=\"test-model\"} 1"));
  const Json debug = cluster_.DebugCluster();
  EXPECT_EQ(debug["workers"][0]["id"], "decode-0");
  EXPECT_EQ(debug["decisions"][0]["decode"], "decode-0");
  EXPECT_EQ(debug["decisions"][0]["candidates"].size(), 1u);
}

TEST_F(HttpApiTest, RequestIdsAreHonouredWhenTheyAreHarmless) {
  const auto with = [&](const std::string& id) {
    return Call(cluster_.http(), "GET", "/health/live", "", {{"X-Request-Id", id}})
        .headers.at("x-request-id");
  };
  EXPECT_EQ(with("my-id_1"), "my-id_1");
  EXPECT_NE(with("bad id<script>"), "bad id<script>");
  EXPECT_NE(with(std::string(500, 'a')), std::string(500, 'a'));
}

TEST_F(HttpApiTest, OnlyPagesOfThisHostMayTalkToIt) {
  const auto origin = [&](const std::string& page) {
    const auto headers = Call(cluster_.http(), "OPTIONS", kChat, "", {{"Origin", page}}).headers;
    return headers.contains("access-control-allow-origin");
  };
  EXPECT_TRUE(origin("http://localhost:3000"));
  EXPECT_FALSE(origin("https://evil.example"));
  EXPECT_FALSE(origin("http://localhost.evil.example"));
}

TEST_F(HttpApiTest, PipelinedRequestsAreAnsweredInOrder) {
  RawHttp http(cluster_.http());
  http.Write(RawRequest("GET", "/health/live", "") + RawRequest("GET", "/v1/models", "") +
             RawRequest("GET", "/nowhere", ""));
  EXPECT_EQ(http.Read()->status, 200);
  EXPECT_EQ(http.Read()->json()["object"], "list");
  EXPECT_EQ(http.Read()->status, 404);
}

// Its first part is read while the answer in front of it is under way, its rest afterwards.
TEST_F(HttpApiTest, ALongRequestThatComesEarlyIsReadWhole) {
  for (const size_t early : {1'000, 20'000, 70'000}) {
    RawHttp http(cluster_.http());
    const std::string prompt(150'000, 'a');
    const std::string second = RawRequest("POST", "/tokenize", R"({"prompt":")" + prompt + R"("})");
    const size_t number = decode_.worker->seen().submits.size();
    http.Write(RawRequest("POST", kText, R"({"prompt":"x"})") + second.substr(0, early));
    const std::string request = decode_.worker->WaitForSubmit(number).sequences(0).request_id();
    decode_.worker->Tokens(request, 0, cluster_.Tokens("Hi"), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(http.Read()->status, 200);
    http.Write(second.substr(early));
    for (int round = 0; round < 2; ++round) {  // what follows is not disturbed, either
      const auto answer = http.Read();
      ASSERT_TRUE(answer && answer->status == 200) << early << (answer ? answer->body : "");
      EXPECT_EQ(answer->json()["tokens"].size(), cluster_.Tokens(prompt).size() + 1);
      http.Write(second);
    }
  }
}

TEST_F(HttpApiTest, BeyondTheLimitOfRequestsInFlightItIs429WithRetryAfter) {
  config::RouterOptions options;
  options.inflight_requests_max = 1;
  RouterCluster small(options);
  auto decode = small.AddDecode();
  RawHttp first(small.http());
  first.Write(RawRequest("POST", kText, R"({"prompt":"x","stream":true})"));
  decode.worker->WaitForSubmit();
  const RawResponse second = small.Post(kText, R"({"prompt":"x"})");
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(second.headers.at("retry-after"), "1");
  EXPECT_EQ(second.json()["error"]["code"], "overloaded");
}

TEST_F(HttpApiTest, ADeadlineEndsTheRequestOnBothSides) {
  const RawResponse response = cluster_.Post(kText, R"({"prompt":"x","timeout":0.05})");
  EXPECT_EQ(response.status, 504);
  EXPECT_TRUE(decode_.worker->WaitFor([](const auto& seen) { return !seen.cancels.empty(); }));
}

}  // namespace
}  // namespace baton::router
