#include "services/router/membership/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::router {
namespace {

using ::testing::HasSubstr;

WorkerProfile Profile(const std::string& id, WorkerRole role = WorkerRole::kDecode) {
  return {.id = WorkerId(id),
          .role = role,
          .model = "m",
          .grpc_address = "127.0.0.1:1",
          .context_tokens_max = 1024,
          .vocab_size = 100,
          .heartbeat_ms = 100};
}

class RosterTest : public testing::Test {
 protected:
  Roster::Stay Join(const WorkerProfile& profile) {
    const Roster::Stay stay = *roster_.Join(profile);
    roster_.SetReachable(profile.id, true);
    return stay;
  }
  size_t NumDecode() { return roster_.SnapshotFor("m", {}, {}).decode.size(); }

  ManualClock clock_;
  Roster roster_{{}, clock_};
};

TEST_F(RosterTest, ADecodeWorkerTakesWorkOnceItsStreamStands) {
  ASSERT_TRUE(roster_.Join(Profile("d")).ok());
  EXPECT_EQ(NumDecode(), 0u);
  EXPECT_FALSE(roster_.Facts("m")->ready);
  roster_.SetReachable(WorkerId("d"), true);
  EXPECT_EQ(NumDecode(), 1u);
  EXPECT_TRUE(roster_.Facts("m")->ready);
}

TEST_F(RosterTest, MissedReportsMakeItSuspectAndANewOneClearsIt) {
  const auto stay = Join(Profile("d"));
  clock_.Advance(absl::Milliseconds(301));
  EXPECT_EQ(NumDecode(), 0u);
  roster_.Report(WorkerId("d"), stay, {});
  EXPECT_EQ(NumDecode(), 1u);
}

TEST_F(RosterTest, ADrainingWorkerGetsNoNewWork) {
  const auto stay = Join(Profile("d"));
  roster_.Drain(WorkerId("d"), stay);
  EXPECT_EQ(NumDecode(), 0u);
  EXPECT_EQ(roster_.List().size(), 1u);
}

TEST_F(RosterTest, NewsOfAnEarlierStayIsIgnored) {
  const auto first = Join(Profile("d"));
  const auto second = Join(Profile("d"));
  roster_.Leave(WorkerId("d"), first);
  EXPECT_EQ(NumDecode(), 1u);
  EXPECT_EQ(roster_.ApplyKvEvents(WorkerId("d"), first, {.number = 1}), KvIndex::Outcome::kIgnored);
  roster_.Leave(WorkerId("d"), second);
  EXPECT_EQ(NumDecode(), 0u);
}

TEST_F(RosterTest, PlacedWorkCountsUntilAReportThatMustKnowIt) {
  const auto stay = Join(Profile("d"));
  roster_.AddPlaced(WorkerId("d"), 2, 500);
  roster_.Report(WorkerId("d"), stay, {});  // on its way before the worker heard of it
  EXPECT_EQ(roster_.SnapshotFor("m", {}, {}).decode[0].added_tokens, 500);
  clock_.Advance(absl::Milliseconds(31));
  roster_.Report(WorkerId("d"), stay, {});
  EXPECT_EQ(roster_.SnapshotFor("m", {}, {}).decode[0].added_tokens, 0);
}

TEST_F(RosterTest, TheShortestContextIsTheModels) {
  Join(Profile("d0"));
  WorkerProfile small = Profile("d1");
  small.context_tokens_max = 512;
  Join(small);
  EXPECT_EQ(roster_.Facts("m")->context_tokens_max, 512);
  EXPECT_FALSE(roster_.Facts("other").has_value());
}

TEST_F(RosterTest, ExcludedWorkersAndOtherModelsAreNotInTheSnapshot) {
  Join(Profile("d0"));
  Join(Profile("d1"));
  const std::vector<WorkerId> excluded = {WorkerId("d0")};
  const auto snapshot = roster_.SnapshotFor("m", {}, excluded);
  ASSERT_EQ(snapshot.decode.size(), 1u);
  EXPECT_EQ(snapshot.decode[0].profile.id.value(), "d1");
  EXPECT_TRUE(roster_.SnapshotFor("x", {}, {}).decode.empty());
}

TEST_F(RosterTest, ARegistrationWithoutWhatMattersIsRefusedByField) {
  WorkerProfile profile = Profile("d");
  profile.vocab_size = 0;
  EXPECT_THAT(MessageOf(roster_.Join(profile).status()), HasSubstr("vocab_size"));
  profile = Profile("");
  EXPECT_THAT(MessageOf(roster_.Join(profile).status()), HasSubstr("worker_id"));
}

}  // namespace
}  // namespace baton::router
