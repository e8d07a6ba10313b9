#include "services/router/intake/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "common/text/test_support.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int32_t kContext = 64;

class IntakeTest : public ::testing::Test {
 protected:
  // A decode worker of this context that can take work.
  void Join(const std::string& id = "d", int32_t context = kContext) {
    WorkerProfile profile{.id = WorkerId(id),
                          .role = WorkerRole::kDecode,
                          .model = "m",
                          .grpc_address = "127.0.0.1:1",
                          .context_tokens_max = context,
                          .vocab_size = (*models_.Find("m"))->tokenizer().vocab_size(),
                          .heartbeat_ms = 100};
    CHECK_OK(roster_.Join(std::move(profile)).status());
    roster_.SetReachable(WorkerId(id), true);
  }
  static ClientRequest Tokens(size_t count) {
    ClientRequest request;
    request.prompt = TokenPrompt{std::vector<int32_t>(count, 5)};
    return request;
  }
  static ClientRequest Chat(const std::string& messages) {
    ClientRequest request;
    request.prompt = ChatPrompt{.messages = text::ChatTemplate::Json::parse(messages)};
    return request;
  }
  // A client's mistake about `field`; the message for closer looks.
  std::string MistakeIn(ClientRequest request, const std::string& field) {
    const absl::Status status = intake_.Accept(std::move(request)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(FieldOf(status), field) << status;
    return MessageOf(status);
  }
  template <typename Change>
  std::string MistakeIn(const std::string& field, Change change) {
    ClientRequest request = Tokens(4);
    change(request);
    return MistakeIn(std::move(request), field);
  }

  ManualClock clock_;
  Roster roster_{{}, clock_};
  static ServedModels Models() {
    std::vector<std::unique_ptr<ServedModel>> models;
    models.push_back(
        std::make_unique<ServedModel>("m", text::TestTokenizer("byte_level"), nullptr,
                                      absl::FailedPreconditionError("no chat template")));
    return *ServedModels::Make(std::move(models));
  }
  const ServedModels models_ = Models();
  const Intake intake_{{}, models_, roster_, clock_};
};

TEST_F(IntakeTest, DefaultsAreResolvedForTheWorkers) {
  Join();
  const auto accepted = intake_.Accept(Tokens(10));
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->model, *models_.Find("m"));
  EXPECT_EQ(accepted->prompt.size(), 10u);
  EXPECT_EQ(accepted->sampling.max_tokens, kContext - 10) << "all the room there is";
  EXPECT_TRUE(accepted->sampling.seed.has_value());
  EXPECT_EQ(accepted->deadline, absl::InfiniteDuration());
  EXPECT_EQ(accepted->accepted_at, clock_.Monotonic());
  EXPECT_FALSE(accepted->id.value().empty());
}

TEST_F(IntakeTest, WhatTheClientChoseIsKept) {
  Join();
  ClientRequest request = Tokens(10);
  request.request_id = "mine";
  request.sampling.seed = 7;
  request.sampling.max_tokens = 3;
  request.priority = -5;
  request.timeout = absl::Seconds(2);
  request.n = 2;
  const auto accepted = intake_.Accept(request);
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->sampling.seed, 7u);
  EXPECT_EQ(accepted->sampling.max_tokens, 3);
  EXPECT_EQ(accepted->priority, -5);
  EXPECT_EQ(accepted->n, 2);
  EXPECT_EQ(accepted->deadline, clock_.Monotonic() + absl::Seconds(2));
  EXPECT_THAT(accepted->id.value(), StartsWith("mine-"));
  EXPECT_NE(accepted->id, intake_.Accept(request)->id) << "two requests never share an id";
}

TEST_F(IntakeTest, SeedsDifferAndFitIntoJson) {
  Join();
  const uint64_t one = *intake_.Accept(Tokens(4))->sampling.seed;
  const uint64_t two = *intake_.Accept(Tokens(4))->sampling.seed;
  EXPECT_NE(one, two);
  EXPECT_LE(std::max(one, two), static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
}

TEST_F(IntakeTest, PromptAndOutputMustFitIntoTheContextWithBothNumbersSaid) {
  Join();
  EXPECT_TRUE(intake_.Accept(Tokens(kContext - 1)).ok());
  const std::string full = MistakeIn(Tokens(kContext), "prompt");
  EXPECT_THAT(full, HasSubstr("64 tokens"));
  EXPECT_THAT(full, HasSubstr("context holds 64"));
  EXPECT_EQ(ErrorCodeOf(intake_.Accept(Tokens(kContext)).status()), "context_length_exceeded");

  ClientRequest request = Tokens(60);
  request.sampling.max_tokens = 4;
  EXPECT_TRUE(intake_.Accept(request).ok());
  request.sampling.max_tokens = 5;
  const std::string message = MistakeIn(request, "max_tokens");
  EXPECT_THAT(message, HasSubstr("max_tokens is 5"));
  EXPECT_THAT(message, HasSubstr("room for 4"));
}

TEST_F(IntakeTest, TheSmallestContextOfTheWorkersCounts) {
  Join("large", 1000);
  EXPECT_EQ(intake_.Accept(Tokens(10))->sampling.max_tokens, 990);
  Join("small", 20);
  EXPECT_EQ(intake_.Accept(Tokens(10))->sampling.max_tokens, 10);
}

TEST_F(IntakeTest, MinTokensShrinkWithTheRoom) {
  Join();
  ClientRequest request = Tokens(60);
  request.sampling.min_tokens = 50;
  const auto accepted = intake_.Accept(request);
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->sampling.min_tokens, 4);
}

TEST_F(IntakeTest, MistakesNameTheirField) {
  Join();
  EXPECT_THAT(MistakeIn("n", [](auto& r) { r.n = 0; }), HasSubstr("between 1 and 16"));
  MistakeIn("n", [](auto& r) { r.n = 17; });
  MistakeIn("priority", [](auto& r) { r.priority = 101; });
  MistakeIn("priority", [](auto& r) { r.priority = -101; });
  MistakeIn("user", [](auto& r) { r.user.assign(257, 'u'); });
  MistakeIn("timeout", [](auto& r) { r.timeout = absl::ZeroDuration(); });
  MistakeIn("timeout", [](auto& r) { r.timeout = absl::Hours(2); });
  MistakeIn("top_p", [](auto& r) { r.sampling.top_p = 1.5f; });
  MistakeIn("max_tokens", [](auto& r) { r.sampling.max_tokens = -1; });
  MistakeIn("max_tokens", [](auto& r) { r.sampling.max_tokens = 0; });
  MistakeIn("stop", [](auto& r) { r.sampling.stop_strings = {"\xff"}; });
  MistakeIn("prompt", [](auto& r) { r.prompt = TokenPrompt{}; });
  EXPECT_THAT(MistakeIn("prompt", [](auto& r) { r.prompt = TokenPrompt{{1, 2, 1 << 30}}; }),
              HasSubstr("prompt[2]"));
  MistakeIn("prompt", [](auto& r) { r.prompt = TokenPrompt{{-1}}; });
  EXPECT_TRUE(intake_.Accept(Tokens(4)).ok()) << "the one they were made from is fine";
}

TEST_F(IntakeTest, NothingIsGeneratedOnlyToEchoOrToScore) {
  Join();
  ClientRequest request = Tokens(4);
  request.sampling.max_tokens = 0;
  request.echo = true;
  EXPECT_TRUE(intake_.Accept(request).ok());
  request.echo = false;
  request.sampling.prompt_logprobs = 2;
  EXPECT_TRUE(intake_.Accept(request).ok());
}

TEST_F(IntakeTest, ChatsAreJudgedByMessage) {
  Join();
  MistakeIn(Chat("[]"), "messages");
  EXPECT_THAT(MistakeIn(Chat(R"([{"role":"user","content":"x"},{"role":"king","content":"y"}])"),
                        "messages[1].role"),
              HasSubstr("king"));
  ClientRequest request = Chat(R"([{"role":"user","content":"x"}])");
  EXPECT_THAT(MistakeIn(request, "messages"), HasSubstr("completions only"));
  request.echo = true;
  MistakeIn(request, "echo");
}

TEST_F(IntakeTest, AnotherModelIsNotFoundAndNoModelMeansTheOneThereIs) {
  Join();
  ClientRequest request = Tokens(4);
  request.model = "m";
  EXPECT_TRUE(intake_.Accept(request).ok());
  request.model = "other";
  const absl::Status status = intake_.Accept(request).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(FieldOf(status), "model");
  EXPECT_EQ(ErrorCodeOf(status), "model_not_found");
  EXPECT_THAT(MessageOf(status), HasSubstr("\"m\""));
}

TEST_F(IntakeTest, WithoutAWorkerValidRequestsMayComeAgainAndMistakesStayMistakes) {
  const absl::Status status = intake_.Accept(Tokens(4)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(RetryAfterOf(status), absl::Seconds(1));
  EXPECT_EQ(ErrorCodeOf(status), "no_worker");
  MistakeIn("n", [](auto& r) { r.n = 0; });
  MistakeIn("prompt", [](auto& r) { r.prompt = TokenPrompt{{-1}}; });
}

TEST_F(IntakeTest, ScoresOfAPromptAreBounded) {
  Join("d", 1 << 20);
  ClientRequest request = Tokens(1 << 12);
  request.sampling.prompt_logprobs = 3;
  request.n = 16;
  EXPECT_TRUE(intake_.Accept(request).ok()) << "exactly what is allowed";
  request.prompt = TokenPrompt{std::vector<int32_t>((1 << 12) + 1, 5)};
  EXPECT_THAT(MistakeIn(request, "logprobs"), HasSubstr("262144"));
}

TEST_F(IntakeTest, TokenizeAndDetokenizeAreEachOthersWayBack) {
  const auto tokens = intake_.Tokenize("", TextPrompt{"a relay"}, true);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->context_tokens_max, 0) << "nobody serves it yet";
  EXPECT_EQ(*intake_.Detokenize("m", tokens->ids, true), "a relay");
  Join();
  EXPECT_EQ(intake_.Tokenize("m", TextPrompt{"x"}, true)->context_tokens_max, kContext);
  EXPECT_TRUE(absl::IsNotFound(intake_.Tokenize("other", TextPrompt{"x"}, true).status()));
  const absl::Status status = intake_.Detokenize("m", {1, 1 << 30}, true).status();
  EXPECT_EQ(FieldOf(status), "tokens");
  EXPECT_THAT(MessageOf(status), HasSubstr("tokens[1]"));
}

}  // namespace
}  // namespace baton::router
