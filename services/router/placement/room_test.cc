#include "services/router/placement/room.h"

#include <gtest/gtest.h>

#include "services/router/placement/policy.h"

namespace baton::router {
namespace {

WorkerState Worker(int32_t batch) {
  WorkerState worker;
  worker.profile.batch_sequences_max = batch;
  worker.profile.block_tokens = 16;
  return worker;
}

TEST(RoomTest, AWorkerIsGivenItsBatchAndAFewAhead) {
  EXPECT_EQ(SequencesMax(Worker(64).profile, 25), 80);
  EXPECT_EQ(SequencesMax(Worker(1).profile, 25), 2);
  EXPECT_EQ(SequencesMax(Worker(7).profile, 0), 7);
  EXPECT_EQ(SequencesMax(Worker(0).profile, 25), 0);
  WorkerState worker = Worker(4);
  worker.held_sequences = 3;
  worker.other_sequences = 1;
  EXPECT_TRUE(HasRoom(worker, {.sequences = 1}, 25));
  EXPECT_FALSE(HasRoom(worker, {.sequences = 2}, 25));
  EXPECT_FALSE(HasRoom(worker, {.sequences = 1}, 0));
}

TEST(RoomTest, AWorkerThatStatesNoBatchAlwaysHasRoom) {
  WorkerState worker = Worker(0);
  worker.held_sequences = 1000;
  EXPECT_TRUE(HasRoom(worker, {.sequences = 16}, 0));
}

TEST(RoomTest, MoreSequencesThanFitNeedTheWorkerToThemselves) {
  WorkerState worker = Worker(4);
  EXPECT_TRUE(HasRoom(worker, {.sequences = 16}, 0));
  worker.held_sequences = 1;
  EXPECT_FALSE(HasRoom(worker, {.sequences = 16}, 0));
}

TEST(RoomTest, AWorkerWithoutBlocksForThePromptIsGivenOnlyTheFewAhead) {
  WorkerState worker = Worker(8);
  worker.held_sequences = 2;
  worker.load.engine.blocks_total = 10;
  worker.load.engine.blocks_free = 2;
  worker.load.engine.blocks_cached = 1;
  EXPECT_TRUE(HasRoom(worker, {.tokens_missing = 32}, 0));
  EXPECT_FALSE(HasRoom(worker, {.tokens_missing = 33}, 0)) << "3 blocks, and one to go on with";
  worker.added_blocks = 1;
  EXPECT_FALSE(HasRoom(worker, {.tokens_missing = 32}, 0));
  EXPECT_TRUE(HasRoom(worker, {.tokens_missing = 1000}, 25)) << "two may wait there";
  worker.load.engine.waiting = 2;
  EXPECT_FALSE(HasRoom(worker, {.tokens_missing = 1000}, 25));
  worker.held_sequences = 0;
  EXPECT_TRUE(HasRoom(worker, {.tokens_missing = 1000}, 0)) << "it has it to itself";
}

// Else a policy would take another worker, which has no place, again and again.
TEST(RoomTest, AWorkerWhoseOwnQueueIsFullHasNone) {
  WorkerState worker = Worker(8);
  worker.held_sequences = 1;
  worker.profile.waiting_sequences_max = 2;
  worker.load.engine.waiting = 1;
  EXPECT_TRUE(HasRoom(worker, {.sequences = 1}, 0));
  worker.load.engine.waiting = 2;
  EXPECT_FALSE(HasRoom(worker, {.sequences = 1}, 0));
  worker.held_sequences = 0;
  EXPECT_TRUE(HasRoom(worker, {.sequences = 1}, 0)) << "it has it to itself";
}

TEST(RoomTest, ACrowdedWorkerIsTakenOnlyWhenAllAre) {
  PlacementSnapshot snapshot{.decode = {Worker(1), Worker(1)}};
  snapshot.decode[0].profile.id = WorkerId("a");
  snapshot.decode[1].profile.id = WorkerId("b");
  snapshot.decode[0].crowded = true;
  ASSERT_EQ(DecodeTakers({}, snapshot).size(), 1u);
  EXPECT_EQ(DecodeTakers({}, snapshot)[0]->profile.id, WorkerId("b"));
  snapshot.decode[1].crowded = true;
  EXPECT_EQ(DecodeTakers({}, snapshot).size(), 2u);
}

}  // namespace
}  // namespace baton::router
