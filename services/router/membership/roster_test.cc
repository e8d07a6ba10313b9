#include "services/router/membership/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/placement/policies.h"

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

TEST_F(RosterTest, AWorkerWhoseEngineHangsGetsNoNewWorkUntilItGoesOn) {
  const auto stay = Join(Profile("d"));
  WorkerLoad load;
  load.stalled = true;
  roster_.Report(WorkerId("d"), stay, load);
  EXPECT_EQ(NumDecode(), 0u);
  EXPECT_TRUE(roster_.List().front().suspect);
  load.stalled = false;
  roster_.Report(WorkerId("d"), stay, load);
  EXPECT_EQ(NumDecode(), 1u);
}

TEST_F(RosterTest, AWorkerIsFoundByItsIdOrByANameThatIsItsAlone) {
  Join(Profile("d@1"));
  Join(Profile("d@2"));
  Join(Profile("e@1"));
  EXPECT_EQ(*roster_.Named("d@2"), WorkerId("d@2"));
  EXPECT_EQ(*roster_.Named("e"), WorkerId("e@1"));
  EXPECT_TRUE(absl::IsInvalidArgument(roster_.Named("d").status()));
  EXPECT_TRUE(absl::IsNotFound(roster_.Named("f").status()));
  EXPECT_TRUE(absl::IsNotFound(roster_.Named("").status()));
}

TEST_F(RosterTest, EstimatesFollowWhatFirstTokensReallyTook) {
  Join(Profile("d"));
  const auto factor = [&] { return roster_.SnapshotFor("m", {}, {}).decode.front().ttft_factor; };
  const absl::Duration expected = absl::Milliseconds(20);
  EXPECT_EQ(factor(), 1);
  // Half again as long as estimated, whatever the estimate has become.
  for (int i = 0; i < 100; ++i) {
    roster_.NoteTtft(WorkerId("d"), expected * factor(), expected * 1.5);
  }
  EXPECT_NEAR(factor(), 1.5, 0.01);
  for (int i = 0; i < 1000; ++i) roster_.NoteTtft(WorkerId("d"), expected, expected * 1000);
  EXPECT_EQ(factor(), 4) << "bounded";
  roster_.NoteTtft(WorkerId("d"), absl::Microseconds(10), expected);
  EXPECT_EQ(factor(), 4) << "too short to tell";
}

TEST_F(RosterTest, ADrainingWorkerGetsNoNewWork) {
  const auto stay = Join(Profile("d"));
  roster_.Drain(WorkerId("d"), stay);
  EXPECT_EQ(NumDecode(), 0u);
  EXPECT_EQ(roster_.List().size(), 1u);
}

TEST_F(RosterTest, NoPolicyPicksAWorkerThatDrainsHoweverGoodItLooks) {
  WorkerProfile decode = Profile("d0");
  WorkerProfile prefill = Profile("p0", WorkerRole::kPrefill);
  for (WorkerProfile* profile : {&decode, &prefill}) profile->batch_sequences_max = 8;
  const auto draining_decode = Join(decode);
  const auto draining_prefill = Join(prefill);
  decode.id = WorkerId("d1");
  prefill.id = WorkerId("p1");
  const auto busy_decode = Join(decode);
  const auto busy_prefill = Join(prefill);
  roster_.Report(decode.id, busy_decode, {.engine = {.running = 8, .waiting_tokens = 500}});
  roster_.Report(prefill.id, busy_prefill, {.engine = {.running = 8, .waiting_tokens = 500}});
  roster_.Drain(WorkerId("d0"), draining_decode);
  roster_.Drain(WorkerId("p0"), draining_prefill);
  for (const std::string_view name : PolicyNames()) {
    auto policy = *MakePolicy(name, {});
    for (uint64_t session = 0; session < 20; ++session) {
      const Decision decision = policy->Decide({.prompt_tokens = 3000, .session = session},
                                               roster_.SnapshotFor("m", {}, {}));
      ASSERT_EQ(decision.decode.value(), "d1") << name;
      for (const WorkerId& id : decision.prefill) ASSERT_EQ(id.value(), "p1") << name;
    }
  }
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
  roster_.AddPlaced(WorkerId("d"), {.sequences = 2, .tokens = 500});
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

TEST_F(RosterTest, PlacesAreHeldUntilTheyAreFreed) {
  WorkerProfile profile = Profile("d");
  profile.batch_sequences_max = 2;
  Join(profile);
  const WorkerId d("d");
  EXPECT_TRUE(roster_.TryPlace(d, {.sequences = 1}, 0));
  EXPECT_TRUE(roster_.TryPlace(d, {.sequences = 1}, 0));
  EXPECT_EQ(roster_.PlacesFor("m", 1, 0), Roster::Places::kNone);
  EXPECT_EQ(roster_.PlacesFor("m", 1, 50), Roster::Places::kSome);
  EXPECT_FALSE(roster_.TryPlace(d, {.sequences = 1}, 0));
  EXPECT_TRUE(roster_.TryPlace(d, {.sequences = 1}, std::nullopt)) << "whatever that makes of it";
  roster_.Free(d, 2);
  EXPECT_EQ(roster_.List()[0].state.held_sequences, 1);
  EXPECT_EQ(roster_.PlacesFor("m", 1, 0), Roster::Places::kSome);
  EXPECT_EQ(roster_.PlacesFor("other", 1, 0), Roster::Places::kNoWorker);
}

TEST_F(RosterTest, KnowsForHowLongNobodyHasServedAModel) {
  EXPECT_EQ(roster_.UnservedFor("m"), absl::InfiniteDuration());
  const auto stay = Join(Profile("d"));
  EXPECT_EQ(roster_.UnservedFor("m"), absl::ZeroDuration());
  EXPECT_EQ(roster_.UnservedFor("other"), absl::InfiniteDuration());
  clock_.Advance(absl::Seconds(1));  // silent: it has not said anything since it came
  EXPECT_EQ(roster_.UnservedFor("m"), absl::Seconds(1));
  roster_.Report(WorkerId("d"), stay, {});
  EXPECT_EQ(roster_.UnservedFor("m"), absl::ZeroDuration());
  clock_.Advance(absl::Milliseconds(100));
  roster_.Drain(WorkerId("d"), stay);
  EXPECT_EQ(roster_.UnservedFor("m"), absl::Milliseconds(100));
  roster_.Report(WorkerId("d"), stay, {});
  EXPECT_EQ(roster_.UnservedFor("m"), absl::Milliseconds(100)) << "it takes nothing new";
}

// Its stream to us broke; what runs there still does.
TEST_F(RosterTest, HeldPlacesOutliveAStay) {
  const WorkerId d("d");
  const auto stay = Join(Profile("d"));
  EXPECT_TRUE(roster_.TryPlace(d, {.sequences = 3}, std::nullopt));
  roster_.Leave(d, stay);
  EXPECT_EQ(roster_.PlacesFor("m", 1, 0), Roster::Places::kNoWorker);
  roster_.Free(d, 1);
  Join(Profile("d"));
  EXPECT_EQ(roster_.List()[0].state.held_sequences, 2);
  Join(Profile("d"));  // before the old stay has ended
  EXPECT_EQ(roster_.List()[0].state.held_sequences, 2);
  roster_.Free(d, 2);
  EXPECT_EQ(roster_.List()[0].state.held_sequences, 0);
}

// One report may still count what has ended, or not yet count what has begun.
TEST_F(RosterTest, OtherRoutersPlacesAreWhatTwoReportsSay) {
  const auto stay = Join(Profile("d"));
  EXPECT_TRUE(roster_.TryPlace(WorkerId("d"), {.sequences = 2}, std::nullopt));
  const auto others_after = [&](int32_t running, int32_t waiting) {
    WorkerLoad load;
    load.engine.running = running;
    load.engine.waiting = waiting;
    roster_.Report(WorkerId("d"), stay, load);
    return roster_.List()[0].state.other_sequences;
  };
  EXPECT_EQ(others_after(3, 2), 0);
  EXPECT_EQ(others_after(3, 1), 2);
  EXPECT_EQ(others_after(9, 9), 2);
  EXPECT_EQ(others_after(1, 0), 0);
  EXPECT_EQ(others_after(2, 1), 0);
}

}  // namespace
}  // namespace baton::router
