#include "common/rpc/convert.h"

#include <gtest/gtest.h>

#include "common/rpc/status.h"

namespace baton::rpc {
namespace {

TEST(ConvertTest, AbsentSamplingFieldsTakeTheDomainsDefaults) {
  const SamplingParams params = FromProto(v1::SamplingParams());
  EXPECT_EQ(params.temperature, 1.0f);
  EXPECT_EQ(params.top_p, 1.0f);
  EXPECT_EQ(params.repetition_penalty, 1.0f);
  EXPECT_FALSE(params.seed.has_value());
  EXPECT_FALSE(params.logprobs.has_value());
}

TEST(ConvertTest, EverySamplingFieldSurvivesTheTrip) {
  SamplingParams params{.temperature = 0,
                        .top_k = 3,
                        .top_p = 0.5f,
                        .min_p = 0.25f,
                        .repetition_penalty = 1.5f,
                        .presence_penalty = -1,
                        .frequency_penalty = 2,
                        .logit_bias = {{7, -100.f}},
                        .seed = 0,
                        .logprobs = 0,
                        .prompt_logprobs = 5,
                        .max_tokens = 9,
                        .min_tokens = 2,
                        .ignore_eos = true,
                        .stop_token_ids = {1, 2},
                        .stop_strings = {"a", "b"},
                        .include_stop_in_output = true};
  const SamplingParams back = FromProto(ToProto(params));
  EXPECT_EQ(back.temperature, 0);
  EXPECT_EQ(back.top_k, 3);
  EXPECT_EQ(back.top_p, 0.5f);
  EXPECT_EQ(back.min_p, 0.25f);
  EXPECT_EQ(back.repetition_penalty, 1.5f);
  EXPECT_EQ(back.presence_penalty, -1);
  EXPECT_EQ(back.frequency_penalty, 2);
  EXPECT_EQ(back.logit_bias, params.logit_bias);
  EXPECT_EQ(back.seed, 0u);
  EXPECT_EQ(back.logprobs, 0);
  EXPECT_EQ(back.prompt_logprobs, 5);
  EXPECT_EQ(back.max_tokens, 9);
  EXPECT_EQ(back.min_tokens, 2);
  EXPECT_TRUE(back.ignore_eos);
  EXPECT_EQ(back.stop_token_ids, params.stop_token_ids);
  EXPECT_EQ(back.stop_strings, params.stop_strings);
  EXPECT_TRUE(back.include_stop_in_output);
}

TEST(ConvertTest, NothingToGenerateIsNotTheSameAsNoLimit) {
  EXPECT_EQ(FromProto(ToProto(SamplingParams{.max_tokens = 0})).max_tokens, 0);
  EXPECT_EQ(FromProto(ToProto(SamplingParams{})).max_tokens, std::nullopt);
}

TEST(ConvertTest, ATokenWithoutALogprobComesWithoutOne) {
  EXPECT_EQ(FromProto(ToProto(GeneratedToken{.token = 3})).logprob, std::nullopt);
  EXPECT_EQ(FromProto(ToProto(GeneratedToken{.token = 3, .logprob = 0.f})).logprob, 0.f);
}

TEST(ConvertTest, ASequenceSurvivesTheTrip) {
  SequenceSpec spec{.id = {RequestId("r1"), 3},
                    .prompt = {5, 6, 7},
                    .sampling = {.max_tokens = 4},
                    .resumed_tokens = 1,
                    .priority = -5,
                    .time_left = absl::Microseconds(1234567),
                    .traceparent = "00-x"};
  const SequenceSpec back = FromProto(ToProto(spec));
  EXPECT_EQ(back.id, spec.id);
  EXPECT_EQ(back.prompt, spec.prompt);
  EXPECT_EQ(back.resumed_tokens, 1);
  EXPECT_EQ(back.priority, -5);
  EXPECT_EQ(back.time_left, spec.time_left);
  EXPECT_EQ(back.traceparent, "00-x");
  EXPECT_EQ(FromProto(ToProto(SequenceSpec{})).time_left, absl::InfiniteDuration());
  spec.time_left = -absl::Seconds(1);
  EXPECT_EQ(FromProto(ToProto(spec)).time_left, absl::Microseconds(1)) << "not unlimited";
}

TEST(ConvertTest, FinishReasonsMeanTheSameOnBothSides) {
  const std::pair<FinishReason, v1::FinishReason> pairs[] = {
      {FinishReason::kNone, v1::FINISH_REASON_UNSPECIFIED},
      {FinishReason::kStop, v1::FINISH_REASON_STOP},
      {FinishReason::kLength, v1::FINISH_REASON_LENGTH},
      {FinishReason::kCancelled, v1::FINISH_REASON_CANCELLED},
      {FinishReason::kError, v1::FINISH_REASON_ERROR}};
  for (const auto& [ours, theirs] : pairs) {
    EXPECT_EQ(ToProto(ours), theirs);
    EXPECT_EQ(FromProto(theirs), ours);
  }
}

TEST(ConvertTest, StatusKeepsCodeAndMessage) {
  const absl::Status status = ResourceExhausted("queue is full: {} sequences", 7);
  EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
}

TEST(ConvertTest, KvEventsSurviveTheTrip) {
  engine::KvEvents events{.number = 9,
                          .snapshot = true,
                          .stored = {{{1, 2}, {}}, {{3, 4}, {1, 2}}},
                          .removed = {{5, 6}}};
  const engine::KvEvents back = FromProto(ToProto(events));
  EXPECT_EQ(back.number, 9u);
  EXPECT_TRUE(back.snapshot);
  ASSERT_EQ(back.stored.size(), 2u);
  EXPECT_EQ(back.stored[0].parent, kv::BlockHash{});
  EXPECT_EQ(back.stored[1].parent, (kv::BlockHash{1, 2}));
  EXPECT_EQ(back.removed, events.removed);
}

}  // namespace
}  // namespace baton::rpc
