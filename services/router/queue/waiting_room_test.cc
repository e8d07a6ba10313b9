#include "services/router/queue/waiting_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/intake/field_error.h"
#include "services/router/intake/served_model.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

class WaitingRoomTest : public testing::Test {
 protected:
  static RequestQueue::Options Options() {
    RequestQueue::Options options{.requests_max = 2, .wait_max = absl::Seconds(10)};
    options.tenants = {{.name = "default"}, {.name = "gold", .weight = 3}};
    return options;
  }
  AcceptedRequest Request(const std::string& id, const std::string& tenant, int32_t priority = 0) {
    AcceptedRequest request;
    request.id = RequestId(id);
    request.tenant = tenant;
    request.priority = priority;
    request.prompt = {1, 2, 3};
    request.sampling.max_tokens = 4;
    request.deadline = clock_.Monotonic() + absl::Seconds(100);
    return request;
  }
  absl::Status Enter(const AcceptedRequest& request) {
    std::optional<TurnedAway> displaced;
    return room_.Enter(request, displaced);
  }

  ManualClock clock_;
  telemetry::Metrics metrics_;
  WaitingRoom room_{Options(), metrics_, clock_};
};

TEST_F(WaitingRoomTest, WhoCallsItselfByNoNameThatIsKnownIsTheDefaultTenant) {
  EXPECT_EQ(room_.TenantNamed("gold"), "gold");
  EXPECT_EQ(room_.TenantNamed("Gold"), "default");
  EXPECT_EQ(room_.TenantNamed(""), "default");
}

TEST_F(WaitingRoomTest, WhileNobodyWaitsNobodyIsDiscouraged) {
  RequestQueue::Options none = Options();
  none.requests_max = 0;
  telemetry::Metrics metrics;
  WaitingRoom room(none, metrics, clock_);
  EXPECT_EQ(room.Check("", "", 0), absl::OkStatus());
  std::optional<TurnedAway> displaced;
  EXPECT_TRUE(absl::IsUnavailable(room.Enter(Request("a", ""), displaced)));
}

TEST_F(WaitingRoomTest, TellsItsFigures) {
  ASSERT_EQ(Enter(Request("a", "gold", -7)), absl::OkStatus());
  ASSERT_EQ(Enter(Request("b", "nobody")), absl::OkStatus());
  EXPECT_FALSE(room_.empty());
  const absl::Status full = Enter(Request("c", "nobody", 3));
  EXPECT_TRUE(absl::IsUnavailable(full));
  room_.Publish();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_router_queue_requests{tenant="gold",urgency="urgent"} 1)"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_router_queue_requests{tenant="default",urgency="normal"} 1)"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_router_turned_away_total{reason="queue_full"} 1)"));

  clock_.Advance(absl::Milliseconds(700));
  ASSERT_EQ(room_.Fronts().size(), 1u);
  EXPECT_EQ(room_.Fronts()[0].id, RequestId("a"));
  EXPECT_EQ(room_.Begin(Request("a", "gold", -7), 2), absl::Milliseconds(700));
  room_.Serve(Request("a", "gold", -7), 4);
  room_.Publish();
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_router_queue_wait_seconds_sum{urgency="urgent"} 0.7)"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_tenant_tokens_total{kind="prompt",tenant="gold"} 2)"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr(R"(baton_tenant_tokens_total{kind="output",tenant="gold"} 4)"));

  clock_.Advance(absl::Seconds(10));
  const std::vector<TurnedAway> overdue = room_.TakeOverdue();
  ASSERT_EQ(overdue.size(), 1u);
  EXPECT_EQ(overdue[0].id, RequestId("b"));
  EXPECT_TRUE(room_.empty());
  EXPECT_EQ(room_.state().lines.size(), 1u) << "a runs";
  room_.Leave("", RequestId("a"));
  EXPECT_TRUE(room_.state().lines.empty());
}

TEST_F(WaitingRoomTest, EachModelHasAQueueOfItsOwn) {
  const ServedModel a("a", nullptr, nullptr, absl::OkStatus());
  const ServedModel b("b", nullptr, nullptr, absl::OkStatus());
  const auto request = [&](const std::string& id, const ServedModel& model) {
    AcceptedRequest request = Request(id, "gold");
    request.model = &model;
    return request;
  };
  ASSERT_EQ(Enter(request("a1", a)), absl::OkStatus());
  ASSERT_EQ(Enter(request("a2", a)), absl::OkStatus());
  EXPECT_TRUE(absl::IsUnavailable(Enter(request("a3", a)))) << "two may wait";
  EXPECT_TRUE(room_.empty("b"));
  EXPECT_EQ(room_.Check("b", "gold", 0), absl::OkStatus());
  EXPECT_FALSE(room_.Check("a", "gold", 0).ok());
  ASSERT_EQ(Enter(request("b1", b)), absl::OkStatus());
  ASSERT_EQ(room_.Fronts().size(), 2u);
  EXPECT_EQ(room_.Fronts()[1].model, "b");
  EXPECT_EQ(room_.Fronts()[1].id, RequestId("b1"));
  EXPECT_EQ(room_.state().waiting, 3u);
  room_.Begin(request("b1", b), 3);
  room_.Begin(request("a1", a), 3);
  EXPECT_EQ(room_.state().served[1].prompt_tokens, 6) << "of a tenant, whatever the model";
  EXPECT_EQ(room_.state().waiting, 1u);
}

TEST_F(WaitingRoomTest, WhatCannotBeginInItsTimeIsTurnedAway) {
  AcceptedRequest request = Request("a", "");
  for (int i = 0; i < 6; ++i) {  // one a second
    ASSERT_EQ(Enter(Request("w" + std::to_string(2 * i), "")), absl::OkStatus());
    ASSERT_EQ(Enter(Request("w" + std::to_string(2 * i + 1), "")), absl::OkStatus());
    clock_.Advance(absl::Seconds(1));
    room_.Begin(Request("w" + std::to_string(2 * i), ""), 1);
    clock_.Advance(absl::Seconds(1));
    room_.Begin(Request("w" + std::to_string(2 * i + 1), ""), 1);
  }
  ASSERT_EQ(Enter(Request("ahead", "")), absl::OkStatus());
  request.deadline = clock_.Monotonic() + absl::Milliseconds(900);
  EXPECT_EQ(ErrorCodeOf(Enter(request)), turned_away::kTooLong);
  request.deadline = clock_.Monotonic() + absl::Milliseconds(1100);
  EXPECT_EQ(Enter(request), absl::OkStatus());
}

}  // namespace
}  // namespace baton::router
