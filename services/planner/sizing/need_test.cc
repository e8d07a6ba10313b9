#include "services/planner/sizing/need.h"

#include <gtest/gtest.h>

#include "services/planner/sizing/testing/pictures.h"

namespace baton::planner {
namespace {

Picture Busy(double requests) {
  Picture picture = MediumPicture();
  picture.recent = picture.steady = Chats(requests);
  return picture;
}

TEST(NeedTest, NobodyAsksForNothing) {
  const Picture picture = Busy(0);
  EXPECT_EQ(PrefillNeed(picture, picture.recent, {}).workers, 0);
  EXPECT_EQ(DecodeNeed(picture, picture.recent, {}).workers, 0);
  EXPECT_EQ(DecodeNeed(picture, picture.recent, {}).cause, Cause::kNothing);
}

TEST(NeedTest, ALittleIsAskedOfOneOfEach) {
  const Picture picture = Busy(0.1);
  EXPECT_EQ(PrefillNeed(picture, picture.recent, {}).workers, 1);
  EXPECT_EQ(DecodeNeed(picture, picture.recent, {}).workers, 1);
}

// 2000 tokens at 60 µs and a step of 8 ms: 128 ms a prompt. 20 a second are 2.56 workers' worth.
TEST(NeedTest, PrefillHasRoomForItsWork) {
  const Picture picture = Busy(20);
  const Need need = PrefillNeed(picture, picture.recent, {.ttft = absl::Seconds(2)});
  EXPECT_GE(need.workers, 4);  // 3 would be busier than is planned for
  EXPECT_LE(need.workers, 5);
  EXPECT_EQ(need.cause, Cause::kArrivals);
}

TEST(NeedTest, AStricterTtftTakesMorePrefill) {
  const Picture picture = Busy(20);
  int32_t before = 0;
  for (const int ms : {5000, 1000, 500, 350}) {
    const Need need = PrefillNeed(picture, picture.recent, {.ttft = absl::Milliseconds(ms)});
    EXPECT_GE(need.workers, before) << ms;
    before = need.workers;
  }
  EXPECT_GE(before, 5);
}

TEST(NeedTest, AStricterItlTakesMoreDecodeAndIsNamed) {
  const Picture picture = Busy(60);
  const Need loose = DecodeNeed(picture, picture.recent, {.itl = absl::Milliseconds(100)});
  const Need strict = DecodeNeed(picture, picture.recent, {.itl = absl::Milliseconds(10)});
  EXPECT_GT(strict.workers, loose.workers);
  EXPECT_EQ(strict.cause, Cause::kItl);
}

TEST(NeedTest, PromptsThatWaitTakeMorePrefill) {
  Picture picture = Busy(4);
  const int32_t before = PrefillNeed(picture, picture.recent, {}).workers;
  picture.prefill.waiting_tokens = 1'000'000;  // a minute of one worker's time
  const Need need = PrefillNeed(picture, picture.recent, {});
  EXPECT_GE(need.workers, before + 5);
  EXPECT_EQ(need.cause, Cause::kQueue);
}

TEST(NeedTest, RequestsInTheRoutersQueueTakeMoreDecode) {
  Picture picture = Busy(4);
  picture.queued_requests = 640;
  // Batches of 64; each sequence stays for 3.2 s.
  const Need at_once = DecodeNeed(picture, picture.recent, {.catch_up = absl::Seconds(1)});
  EXPECT_EQ(at_once.workers, 11);
  EXPECT_EQ(at_once.cause, Cause::kQueue);
  EXPECT_EQ(DecodeNeed(picture, picture.recent, {.catch_up = absl::Seconds(10)}).workers, 4);
}

TEST(NeedTest, KvThatIsInUseTakesMoreDecode) {
  Picture picture = Busy(1);
  picture.decode.blocks_active = int64_t{3} * picture.decode.blocks;
  const Need need = DecodeNeed(picture, picture.recent, {});
  EXPECT_EQ(need.workers, 4);
  EXPECT_EQ(need.cause, Cause::kKv);
}

TEST(NeedTest, LongContextsAreBoundByKv) {
  Picture picture = Busy(10);
  picture.recent.prompt_tokens = 60'000;
  const Need need = DecodeNeed(picture, picture.recent, {.itl = absl::Seconds(1)});
  EXPECT_EQ(need.cause, Cause::kKv);
}

TEST(NeedTest, WhoComputesPromptsWhereTheyAreDecodedNeedsMoreDecode) {
  const Picture picture = Busy(30);
  const Need apart = DecodeNeed(picture, picture.recent, {});
  const Need together = DecodeNeed(picture, picture.recent, {.prompts_on_decode = true});
  EXPECT_GE(together.workers, apart.workers + 4);  // 3.84 workers' worth of prompts
}

TEST(NeedTest, CachedTokensNeedNoPrefill) {
  Picture picture = Busy(40);
  picture.recent.cached_share = 0.9;
  EXPECT_LE(PrefillNeed(picture, picture.recent, {}).workers, 2);
}

TEST(NeedTest, WorkersThatNobodyHasMeasuredStay) {
  Picture picture = Busy(40);
  picture.prefill.fit = picture.decode.fit = {};
  picture.prefill.present = 3;
  EXPECT_EQ(PrefillNeed(picture, picture.recent, {}).workers, 3);
  EXPECT_EQ(PrefillNeed(picture, picture.recent, {}).cause, Cause::kWake);
}

TEST(NeedTest, DecodeThatIsSlowerThanItSaysNeedsMoreWorkers) {
  Picture picture = Busy(60);
  const Targets targets{.itl = absl::Milliseconds(12)};
  const int32_t before = DecodeNeed(picture, picture.recent, targets).workers;
  picture.pace = 1.3;
  EXPECT_GT(DecodeNeed(picture, picture.recent, targets).workers, before);
}

TEST(NeedTest, WhereTheBatchIsTheBoundSlowStepsKeepMoreInFlight) {
  Picture picture = Busy(60);
  const Targets loose{.itl = absl::Seconds(1)};
  const Need before = DecodeNeed(picture, picture.recent, loose);
  picture.pace = 2;
  EXPECT_GE(DecodeNeed(picture, picture.recent, loose).workers, before.workers * 3 / 2);
}

}  // namespace
}  // namespace baton::planner
