#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

struct Mistake {
  const char* name;
  const char* path;
  std::string body;
  int status;
  const char* param;    // "" = null
  const char* message;  // a part of it
};

std::string Chat(const std::string& more) {
  return R"({"messages":[{"role":"user","content":"hi"}],)" + more + "}";
}
std::string Text(const std::string& more) { return R"({"prompt":"hi",)" + more + "}"; }
std::string Stops(int count) {
  std::string list = "[";
  for (int i = 0; i < count; ++i) list += fmt::format("{}\"s{}\"", i ? "," : "", i);
  return list + "]";
}
std::string Deep(int levels) {
  return R"({"prompt":)" + std::string(levels, '[') + std::string(levels, ']') + "}";
}

const std::vector<Mistake>& Mistakes() {
  static const std::vector<Mistake> mistakes = {
      {"EmptyBody", kChat, "", 400, "", "body is empty"},
      {"NotJson", kChat, "{\"a\": nope}", 400, "", "column 8"},
      {"CutOff", kChat, "{\"messages\": [", 400, "", "not valid JSON"},
      {"CutOffInALongString", kChat, "{\"messages\": \"" + std::string(100'000, 'x'), 400, "",
       "not valid JSON"},
      {"TwoValues", kChat, "{} {}", 400, "", "not valid JSON"},
      {"NoObject", kChat, "[1]", 400, "", "an object is expected"},
      {"BrokenUtf8", kChat, "{\"a\": \"\xff\"}", 400, "", "not valid UTF-8 at byte 7"},
      {"TooDeep", kText, Deep(100), 400, "", "nests 101 levels deep, at most 64"},
      {"HugeNumber", kText, Text(R"("temperature":1e999)"), 400, "", "not valid JSON"},
      {"NoMessages", kChat, "{}", 400, "messages", "messages is missing"},
      {"EmptyMessages", kChat, R"({"messages":[]})", 400, "messages", "messages is empty"},
      {"MessagesNoList", kChat, R"({"messages":"hi"})", 400, "messages", "must be a list"},
      {"MessageNoObject", kChat, R"({"messages":["hi"]})", 400, "messages[0]", "must be an object"},
      {"NoRole", kChat, R"({"messages":[{"content":"x"}]})", 400, "messages[0].role", "is missing"},
      {"RoleNoString", kChat, R"({"messages":[{"role":7,"content":"x"}]})", 400, "messages[0].role",
       "must be a string, got 7"},
      {"BadRole", kChat,
       R"({"messages":[{"role":"user","content":"x"},{"role":"king","content":"x"}]})", 400,
       "messages[1].role", "must be one of system"},
      {"NoContent", kChat, R"({"messages":[{"role":"user"}]})", 400, "messages[0].content",
       "is missing"},
      {"Image", kChat,
       R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})", 400,
       "messages[0].content[0].type", "image_url"},
      {"NegativeMaxTokens", kChat, Chat(R"("max_tokens":-5)"), 400, "max_tokens",
       "at least 1, got -5"},
      {"ZeroMaxTokens", kChat, Chat(R"("max_completion_tokens":0)"), 400, "max_completion_tokens",
       "at least 1, got 0"},
      {"AbsurdMaxTokens", kChat, Chat(R"("max_tokens":1000000)"), 400, "max_tokens",
       "context of 512 tokens"},
      {"MaxTokensBeyondInt", kChat, Chat(R"("max_tokens":99999999999999999999)"), 400, "max_tokens",
       "integer"},
      {"MaxTokensFraction", kChat, Chat(R"("max_tokens":1.5)"), 400, "max_tokens",
       "must be an integer, got 1.5"},
      {"MaxTokensString", kChat, Chat(R"("max_tokens":"5")"), 400, "max_tokens",
       "must be an integer, got a string"},
      {"TopPHigh", kChat, Chat(R"("top_p":1.5)"), 400, "top_p", "at most 1, got 1.5"},
      {"TopPZero", kChat, Chat(R"("top_p":0)"), 400, "top_p", "above 0"},
      {"TemperatureHigh", kChat, Chat(R"("temperature":9)"), 400, "temperature",
       "between 0 and 2, got 9"},
      {"TemperatureList", kChat, Chat(R"("temperature":[1])"), 400, "temperature",
       "must be a number, got an array"},
      {"StreamString", kChat, Chat(R"("stream":"yes")"), 400, "stream", "true or false"},
      {"TooManyStops", kChat, Chat("\"stop\":" + Stops(17)), 400, "stop", "17 entries, at most 16"},
      {"EmptyStop", kChat, Chat(R"("stop":"")"), 400, "stop", "empty string"},
      {"StopNumber", kChat, Chat(R"("stop":["a",3])"), 400, "stop[1]", "must be a string, got 3"},
      {"ZeroN", kChat, Chat(R"("n":0)"), 400, "n", "between 1 and 16, got 0"},
      {"HugeN", kChat, Chat(R"("n":1000)"), 400, "n", "between 1 and 16, got 1000"},
      {"UnknownModel", kChat, Chat(R"("model":"gpt-9")"), 404, "model", "\"gpt-9\""},
      {"UnknownToken", kText, R"({"prompt":[1,2,100000]})", 400, "prompt",
       "prompt[2] is token 100000"},
      {"NegativeToken", kText, R"({"prompt":[-1]})", 400, "prompt", "prompt[0] is token -1"},
      {"MixedPrompt", kText, R"({"prompt":[1,"a"]})", 400, "prompt[1]", "must be an integer"},
      {"NoPrompt", kText, "{}", 400, "prompt", "prompt is missing"},
      {"EmptyPromptList", kText, R"({"prompt":[]})", 400, "prompt", "prompt is empty"},
      {"LongPrompt", kText, R"({"prompt":")" + std::string(4000, 'q') + "\"}", 400, "prompt",
       "tokens, but the model's context holds 512"},
      {"BiasKey", kText, Text(R"("logit_bias":{"x":1})"), 400, "logit_bias", "keys are token ids"},
      {"BiasRange", kText, Text(R"("logit_bias":{"5":101})"), 400, "logit_bias",
       "between -100 and 100"},
      {"LogprobsMany", kText, Text(R"("logprobs":21)"), 400, "logprobs", "between 0 and 20"},
      {"TopLogprobsAlone", kChat, Chat(R"("top_logprobs":3)"), 400, "top_logprobs",
       "logprobs: true"},
      {"StreamOptionsAlone", kChat, Chat(R"("stream_options":{"include_usage":true})"), 400,
       "stream_options", "stream: true"},
      {"Tools", kChat, Chat(R"("tools":[{"type":"function"}])"), 400, "tools", "not supported yet"},
      {"ToolChoice", kChat, Chat(R"("tool_choice":"required")"), 400, "tool_choice",
       "not supported yet"},
      {"JsonSchema", kChat, Chat(R"("response_format":{"type":"json_schema"})"), 400,
       "response_format", "not supported yet"},
      {"Suffix", kText, Text(R"("suffix":"end")"), 400, "suffix", "not supported yet"},
      {"BestOf", kText, Text(R"("best_of":3)"), 400, "best_of", "not supported yet"},
      {"EchoLogprobsMany", kText, Text(R"("echo":true,"logprobs":21)"), 400, "logprobs",
       "between 0 and 20"},
      {"EchoNegativeMaxTokens", kText, Text(R"("echo":true,"max_tokens":-1)"), 400, "max_tokens",
       "at least 0, got -1"},
      {"NoTokensWithoutEcho", kText, Text(R"("max_tokens":0)"), 400, "max_tokens",
       "at least 1, got 0"},
      {"ChatOfNoTokens", kChat, Chat(R"("max_completion_tokens":0)"), 400, "max_completion_tokens",
       "at least 1, got 0"},
      {"Timeout", kText, Text(R"("timeout":-1)"), 400, "timeout", "above 0"},
      {"DetokenizeRange", "/detokenize", R"({"tokens":[1,99999]})", 400, "tokens",
       "tokens[1] is 99999"},
      {"TokenizeNothing", "/tokenize", "{}", 400, "prompt", "prompt is missing"},
  };
  return mistakes;
}

TEST(BadInputTest, EveryMistakeIsNamedAndDisturbsNobody) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  // A stream that runs through it all.
  RawHttp bystander(cluster.http());
  bystander.Write(RawRequest("POST", kText, R"({"prompt":"go on","stream":true})"));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();

  for (const Mistake& mistake : Mistakes()) {
    SCOPED_TRACE(mistake.name);
    const RawResponse response = cluster.Post(mistake.path, mistake.body);
    EXPECT_EQ(response.status, mistake.status) << response.body;
    const auto error = response.json()["error"];
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(mistake.message));
    EXPECT_LT(error["message"].get<std::string>().size(), 500u) << "a body is not sent back";
    EXPECT_EQ(error["param"].is_null() ? "" : error["param"].get<std::string>(), mistake.param);
    EXPECT_TRUE(error["type"].is_string());
    EXPECT_FALSE(response.headers.at("x-request-id").empty());
  }
  EXPECT_EQ(decode.worker->seen().submits.size(), 1u);
  decode.worker->Tokens(id, 0, cluster.Tokens("!"), v1::FINISH_REASON_LENGTH);
  const auto answer = bystander.Read();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(SseData(answer->body).back(), "[DONE]");
}

TEST(BadInputTest, AnUnknownModelHasOpenAisCode) {
  RouterCluster cluster;
  const auto response = cluster.Post(kChat, Chat(R"("model":"x")"));
  EXPECT_EQ(response.json()["error"]["code"], "model_not_found");
}

TEST(BadInputTest, PathsAndMethodsThatAreNotThere) {
  RouterCluster cluster;
  EXPECT_EQ(Call(cluster.http(), "GET", "/nowhere").status, 404);
  EXPECT_EQ(Call(cluster.http(), "GET", "/nowhere").json()["error"]["code"], "not_found");
  const RawResponse wrong = Call(cluster.http(), "GET", kChat);
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
  EXPECT_EQ(Call(cluster.http(), "DELETE", "/v1/models").status, 405);
  EXPECT_EQ(Call(cluster.http(), "GET", "/v1/models/none").status, 404);
}

TEST(BadInputTest, ABodyOverTheLimitIs413AnnouncedOrNot) {
  config::RouterOptions options;
  options.body_bytes_max = config::KiB(4);
  RouterCluster cluster(options);
  const RawResponse announced = cluster.Post(kChat, std::string(5000, ' '));
  EXPECT_EQ(announced.status, 413);
  EXPECT_THAT(announced.body, HasSubstr("4096 bytes"));
  RawHttp chunked(cluster.http());
  chunked.Write("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  chunked.Write("1400\r\n" + std::string(0x1400, ' ') + "\r\n");
  const auto response = chunked.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 413);
}

TEST(BadInputTest, AHeaderFloodIs431) {
  RouterCluster cluster;
  RawHttp http(cluster.http());
  http.Write("GET /v1/models HTTP/1.1\r\nHost: t\r\n");
  for (int i = 0; i < 1000; ++i) {
    if (!http.Write(fmt::format("X-Flood-{}: {}\r\n", i, std::string(50, 'x')))) break;
  }
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 431);
  EXPECT_TRUE(http.ReadEnd());
}

TEST(BadInputTest, WhatIsNotHttpIs400AndClosed) {
  RouterCluster cluster;
  RawHttp http(cluster.http());
  http.Write("hello there\r\n\r\n");
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 400);
  EXPECT_TRUE(http.ReadEnd());
}

}  // namespace
}  // namespace baton::router
