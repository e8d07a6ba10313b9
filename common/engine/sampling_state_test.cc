#include "common/engine/sampling_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class SamplingStateTest : public ::testing::Test {
 protected:
  SamplingStateTest() {
    info_.vocab = 100;
    info_.eos_token_ids = {2};
    spec_.prompt = {9, 5, 9, 7};
    spec_.sampling.max_tokens = 10;
  }

  model::ModelInfo info_;
  SequenceSpec spec_;
};

TEST_F(SamplingStateTest, AnEndOfSequenceTokenStopsIt) {
  SamplingState state(spec_, info_, 100);
  EXPECT_EQ(state.Add(5), FinishReason::kNone);
  EXPECT_EQ(state.Add(2), FinishReason::kStop);
}

TEST_F(SamplingStateTest, UnlessItIsIgnored) {
  spec_.sampling.ignore_eos = true;
  spec_.sampling.stop_token_ids = {8};
  SamplingState state(spec_, info_, 100);
  EXPECT_EQ(state.Add(2), FinishReason::kNone);
  EXPECT_EQ(state.Add(8), FinishReason::kStop);
}

TEST_F(SamplingStateTest, StopsAreBannedBeforeMinTokens) {
  spec_.sampling.min_tokens = 1;
  spec_.sampling.stop_token_ids = {8};
  SamplingState state(spec_, info_, 100);
  EXPECT_THAT(state.ArgsFor(0).banned, ElementsAre(2, 8));
  state.Add(5);
  EXPECT_THAT(state.ArgsFor(0).banned, IsEmpty());
}

TEST_F(SamplingStateTest, EndsAtMaxTokensOrWhenTheContextIsFull) {
  spec_.sampling.max_tokens = 2;
  SamplingState by_count(spec_, info_, 100);
  EXPECT_EQ(by_count.Add(5), FinishReason::kNone);
  EXPECT_EQ(by_count.Add(5), FinishReason::kLength);
  SamplingState by_context(spec_, info_, 5);
  EXPECT_EQ(by_context.Add(5), FinishReason::kLength);
}

TEST_F(SamplingStateTest, CountsOnlyWhatAPenaltyAsksFor) {
  SamplingState plain(spec_, info_, 100);
  plain.Add(5);
  EXPECT_THAT(plain.ArgsFor(0).output_counts, IsEmpty());
  EXPECT_THAT(plain.ArgsFor(0).prompt_tokens_seen, IsEmpty());
  spec_.sampling.presence_penalty = 1;
  spec_.sampling.repetition_penalty = 2;
  SamplingState counted(spec_, info_, 100);
  for (int32_t token : {50, 5, 50}) counted.Add(token);
  EXPECT_THAT(counted.ArgsFor(0).output_counts, ElementsAre(Pair(5, 1), Pair(50, 2)));
  EXPECT_THAT(counted.ArgsFor(0).prompt_tokens_seen, ElementsAre(5, 7, 9));
}

// A sequence that goes on elsewhere, its output now the tail of its prompt, draws as if it had not
// moved.
TEST_F(SamplingStateTest, AResumedSequenceGoesOnWhereItWas) {
  spec_.sampling.repetition_penalty = 2;
  spec_.sampling.seed = 11;
  SamplingState whole(spec_, info_, 100);
  whole.Add(30);
  whole.Add(31);
  SequenceSpec rest = spec_;
  rest.prompt.insert(rest.prompt.end(), {30, 31});
  rest.resumed_tokens = 2;
  SamplingState resumed(rest, info_, 100);
  const kernels::SampleArgs a = whole.ArgsFor(3);
  const kernels::SampleArgs b = resumed.ArgsFor(3);
  EXPECT_EQ(a.draw, b.draw);
  EXPECT_EQ(a.seed, b.seed);
  EXPECT_TRUE(std::ranges::equal(a.output_counts, b.output_counts));
  EXPECT_TRUE(std::ranges::equal(a.prompt_tokens_seen, b.prompt_tokens_seen));
}

}  // namespace
}  // namespace baton::engine
