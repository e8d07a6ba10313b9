#include "services/router/queue/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RequestQueueTest : public testing::Test {
 protected:
  static RequestQueue::Options Tenants(std::vector<Tenant> tenants) {
    RequestQueue::Options options;
    options.tenants = std::move(tenants);
    return options;
  }

  absl::Status Enter(RequestQueue& queue, const WaitingRequest& request) {
    displaced_.reset();
    return queue.Enter(request, now_, displaced_);
  }
  // Begins whoever is next: its name.
  std::string BeginNext(RequestQueue& queue, int64_t computed_tokens = 0) {
    const WaitingRequest* front = queue.Front(now_);
    if (front == nullptr) return "";
    const WaitingRequest request = *front;
    queue.Begin(request, computed_tokens, now_);
    return request.id.value();
  }
  std::vector<std::string> BeginAll(RequestQueue& queue) {
    std::vector<std::string> order;
    while (queue.num_waiting() > 0) order.push_back(BeginNext(queue));
    return order;
  }
  // So many of them, each served at once: prompt and output tokens, by tenant.
  std::vector<double> ServeOneByOne(RequestQueue& queue, int requests, int64_t output_tokens) {
    std::vector<double> tokens(queue.tenants().size());
    for (int i = 0; i < requests; ++i) {
      const WaitingRequest* front = queue.Front(now_);
      EXPECT_NE(front, nullptr);
      const WaitingRequest request = *front;
      queue.Begin(request, request.prompt_tokens, now_);
      queue.Serve(request.id, output_tokens);
      queue.Leave(request.id, now_);
      tokens[request.tenant] += static_cast<double>(request.prompt_tokens + output_tokens);
    }
    return tokens;
  }

  absl::Duration now_ = absl::Seconds(1);
  std::optional<TurnedAway> displaced_;
};

WaitingRequest Request(const std::string& id, int32_t priority = 0, size_t tenant = 0) {
  return {.id = RequestId(id),
          .tenant = tenant,
          .priority = priority,
          .prompt_tokens = 10,
          .output_tokens_max = 10};
}

TEST_F(RequestQueueTest, TheMoreUrgentGoFirstAndEqualsByArrival) {
  RequestQueue queue({});
  for (const auto& [id, priority] :
       std::vector<std::pair<std::string, int>>{{"a", 0}, {"b", 5}, {"c", -1}, {"d", 0}}) {
    EXPECT_EQ(Enter(queue, Request(id, priority)), absl::OkStatus());
  }
  EXPECT_THAT(BeginAll(queue), ElementsAre("c", "a", "d", "b"));
  EXPECT_EQ(queue.Front(now_), nullptr);
}

TEST_F(RequestQueueTest, TokensAreSharedByWeight) {
  RequestQueue queue(Tenants({{"default", 1}, {"gold", 3}, {"free", 1}}));
  for (int i = 0; i < 400; ++i) {
    WaitingRequest gold = Request("g" + std::to_string(i), 0, 1);
    gold.prompt_tokens = 30;
    WaitingRequest free = Request("f" + std::to_string(i), 0, 2);
    free.prompt_tokens = 170;
    ASSERT_EQ(Enter(queue, gold), absl::OkStatus());
    ASSERT_EQ(Enter(queue, free), absl::OkStatus());
  }
  const std::vector<double> tokens = ServeOneByOne(queue, 300, 20);
  // Whoever goes next is the one that is behind: never further than one request of each.
  EXPECT_LE(std::abs(tokens[1] / 3 - tokens[2]), 50.0 / 3 + 190);
  EXPECT_GT(tokens[2], 1000);
}

TEST_F(RequestQueueTest, OutputCountsAsItComes) {
  RequestQueue queue(Tenants({{"default", 1}, {"talker", 1}, {"quiet", 1}}));
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(Enter(queue, Request("t" + std::to_string(i), 0, 1)), absl::OkStatus());
    ASSERT_EQ(Enter(queue, Request("q" + std::to_string(i), 0, 2)), absl::OkStatus());
  }
  EXPECT_EQ(BeginNext(queue, 10), "t0");
  EXPECT_EQ(BeginNext(queue, 10), "q0");
  queue.Serve(RequestId("t0"), 25);  // as much as two and a half prompts
  EXPECT_EQ(BeginNext(queue, 10), "q1");
  EXPECT_EQ(BeginNext(queue, 10), "q2");
  EXPECT_EQ(BeginNext(queue, 10), "q3");
  EXPECT_EQ(BeginNext(queue, 10), "t1");
}

TEST_F(RequestQueueTest, WhatWasExpectedAndDidNotComeIsGivenBack) {
  RequestQueue queue(Tenants({{"default", 1}, {"a", 1}, {"b", 1}}));
  // Its last request made it look talkative.
  ASSERT_EQ(Enter(queue, Request("talk", 0, 1)), absl::OkStatus());
  EXPECT_EQ(BeginNext(queue), "talk");
  queue.Serve(RequestId("talk"), 100);
  queue.Leave(RequestId("talk"), now_);
  for (const std::string id : {"a0", "a1"}) {
    WaitingRequest request = Request(id, 0, 1);
    request.output_tokens_max = 1000;
    ASSERT_EQ(Enter(queue, request), absl::OkStatus());
  }
  ASSERT_EQ(Enter(queue, Request("b0", 0, 2)), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("b1", 0, 2)), absl::OkStatus());
  EXPECT_EQ(BeginNext(queue, 1), "a0");
  EXPECT_EQ(queue.Lines(now_).front().lead_tokens, 101);
  queue.Serve(RequestId("a0"), 3);
  queue.Leave(RequestId("a0"), now_);
  EXPECT_EQ(queue.Lines(now_).front().lead_tokens, 4);
}

TEST_F(RequestQueueTest, BeingIdleEarnsNothing) {
  RequestQueue queue(Tenants({{"default", 1}, {"busy", 1}, {"idle", 1}}));
  ASSERT_EQ(Enter(queue, Request("first", 0, 1)), absl::OkStatus());
  EXPECT_EQ(BeginNext(queue, 10), "first");  // so that somebody is there throughout
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Enter(queue, Request("b" + std::to_string(i), 0, 1)), absl::OkStatus());
  }
  ServeOneByOne(queue, 50, 10);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Enter(queue, Request("i" + std::to_string(i), 0, 2)), absl::OkStatus());
  }
  const std::vector<double> tokens = ServeOneByOne(queue, 40, 10);
  EXPECT_LE(std::abs(tokens[1] - tokens[2]), 2 * 20);
}

TEST_F(RequestQueueTest, ByDeadlineTheEarliestFirst) {
  RequestQueue queue({.order = RequestQueue::Order::kDeadline});
  WaitingRequest soon = Request("soon");
  soon.deadline = now_ + absl::Seconds(5);
  WaitingRequest later = Request("later");
  later.deadline = now_ + absl::Seconds(9);
  for (const WaitingRequest& request : {Request("whenever"), later, soon}) {
    ASSERT_EQ(Enter(queue, request), absl::OkStatus());
  }
  EXPECT_THAT(BeginAll(queue), ElementsAre("soon", "later", "whenever"));
}

TEST_F(RequestQueueTest, ByLengthTheShortestFirstUntilOneHasWaitedTooLong) {
  RequestQueue queue({.order = RequestQueue::Order::kShortest, .aging = absl::Seconds(2)});
  WaitingRequest longest = Request("long");
  longest.prompt_tokens = 1000;
  ASSERT_EQ(Enter(queue, longest), absl::OkStatus());
  int begun = 0;
  for (; begun < 1000; ++begun) {  // there is always a shorter one
    ASSERT_EQ(Enter(queue, Request("s" + std::to_string(begun))), absl::OkStatus());
    if (BeginNext(queue) == "long") break;
    now_ += absl::Milliseconds(100);
  }
  EXPECT_EQ(begun, 20) << "two seconds' worth";
}

TEST_F(RequestQueueTest, ByLengthGoesByWhatATenantsRequestsUsuallyCome) {
  RequestQueue queue({.order = RequestQueue::Order::kShortest});
  ASSERT_EQ(Enter(queue, Request("before")), absl::OkStatus());
  EXPECT_EQ(BeginNext(queue), "before");
  queue.Serve(RequestId("before"), 5);
  queue.Leave(RequestId("before"), now_);
  WaitingRequest wordy = Request("allowed much, prompt short");
  wordy.output_tokens_max = 100'000;
  WaitingRequest terse = Request("allowed little, prompt longer");
  terse.prompt_tokens = 12;
  terse.output_tokens_max = 6;
  ASSERT_EQ(Enter(queue, terse), absl::OkStatus());
  ASSERT_EQ(Enter(queue, wordy), absl::OkStatus());
  EXPECT_EQ(BeginNext(queue), wordy.id.value());
}

TEST_F(RequestQueueTest, ATenantsBoundIs429AndTheQueues503) {
  RequestQueue::Options options = Tenants({{"default", 1}, {"free", 1, 3, 0}});
  options.requests_max = 4;
  RequestQueue queue(options);
  ASSERT_EQ(Enter(queue, Request("f0", 0, 1)), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("f1", 0, 1)), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("f2", 0, 1)), absl::OkStatus());
  const absl::Status bound = Enter(queue, Request("f3", 0, 1));
  EXPECT_TRUE(absl::IsResourceExhausted(bound));
  EXPECT_EQ(ErrorCodeOf(bound), turned_away::kTenantFull);
  EXPECT_EQ(RetryAfterOf(bound), absl::Seconds(1)) << "nothing is known of the rate";
  EXPECT_THAT(bound.message(), HasSubstr("3 requests of tenant \"free\""));
  EXPECT_EQ(queue.Check(1, 0, now_).message(), bound.message());

  ASSERT_EQ(Enter(queue, Request("d0")), absl::OkStatus());
  // Now it is full: who fills more of it than others is told so, and who does not displaces it.
  EXPECT_EQ(Enter(queue, Request("d1")), absl::OkStatus());
  ASSERT_TRUE(displaced_.has_value());
  EXPECT_EQ(displaced_->id, RequestId("f2"));
  EXPECT_EQ(ErrorCodeOf(displaced_->why), turned_away::kOverShare);
  EXPECT_TRUE(absl::IsResourceExhausted(displaced_->why));
  const absl::Status share = Enter(queue, Request("d2"));
  EXPECT_EQ(ErrorCodeOf(share), turned_away::kOverShare);
}

TEST_F(RequestQueueTest, AFullQueueOfOneTenantIs503) {
  RequestQueue queue({.requests_max = 1});
  ASSERT_EQ(Enter(queue, Request("a")), absl::OkStatus());
  const absl::Status full = Enter(queue, Request("b"));
  EXPECT_TRUE(absl::IsUnavailable(full));
  EXPECT_EQ(ErrorCodeOf(full), turned_away::kQueueFull);
  EXPECT_TRUE(absl::IsUnavailable(queue.Check(0, 0, now_)));
}

TEST_F(RequestQueueTest, AMoreUrgentRequestTakesTheLastPlaceOfALessUrgentOne) {
  RequestQueue queue({.requests_max = 2});
  ASSERT_EQ(Enter(queue, Request("old", 1)), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("new", 1)), absl::OkStatus());
  EXPECT_EQ(queue.Check(0, 0, now_), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("urgent", 0)), absl::OkStatus());
  ASSERT_TRUE(displaced_.has_value());
  EXPECT_EQ(displaced_->id, RequestId("new"));
  EXPECT_TRUE(absl::IsUnavailable(displaced_->why));
  EXPECT_EQ(ErrorCodeOf(displaced_->why), turned_away::kDisplaced);
  EXPECT_TRUE(absl::IsUnavailable(Enter(queue, Request("never", 2))));
  EXPECT_THAT(BeginAll(queue), ElementsAre("urgent", "old"));
}

TEST_F(RequestQueueTest, TokensAreBoundedToo) {
  RequestQueue::Options options = Tenants({{"default", 1}, {"free", 1, 0, 25}});
  options.tokens_max = 60;
  RequestQueue queue(options);
  WaitingRequest huge = Request("huge");
  huge.prompt_tokens = 1000;
  EXPECT_EQ(Enter(queue, huge), absl::OkStatus()) << "where nothing else waits";
  EXPECT_TRUE(absl::IsUnavailable(Enter(queue, Request("one more"))));
  EXPECT_EQ(BeginNext(queue), "huge");
  ASSERT_EQ(Enter(queue, Request("f0", 0, 1)), absl::OkStatus());
  ASSERT_EQ(Enter(queue, Request("f1", 0, 1)), absl::OkStatus());
  const absl::Status bound = Enter(queue, Request("f2", 0, 1));
  EXPECT_TRUE(absl::IsResourceExhausted(bound));
  EXPECT_THAT(bound.message(), HasSubstr("its limit is 25"));
  EXPECT_EQ(queue.tokens_waiting(), 20);
}

TEST_F(RequestQueueTest, RetryAfterIsHowLongTheQueueTakes) {
  RequestQueue queue({.requests_max = 50, .wait_max = absl::Seconds(100)});
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(Enter(queue, Request("a" + std::to_string(i))), absl::OkStatus());
  }
  for (int i = 0; i < 40; ++i) {  // two a second
    now_ += absl::Milliseconds(500);
    BeginNext(queue);
    ASSERT_EQ(Enter(queue, Request("b" + std::to_string(i))), absl::OkStatus());
  }
  EXPECT_NEAR(queue.requests_per_second(now_), 2, 0.01);
  const absl::Status full = Enter(queue, Request("c"));
  EXPECT_NEAR(absl::ToDoubleSeconds(RetryAfterOf(full)), 25, 0.5);
}

TEST_F(RequestQueueTest, WhatWouldWaitTooLongIsTurnedAwayAtOnce) {
  RequestQueue queue({.wait_max = absl::Seconds(10)});
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(Enter(queue, Request("a" + std::to_string(i))), absl::OkStatus());
  }
  for (int i = 0; i < 10; ++i) {  // four a second, so that the 20 that are left take 5 s
    now_ += absl::Milliseconds(250);
    BeginNext(queue);
  }
  EXPECT_EQ(Enter(queue, Request("in time")), absl::OkStatus());
  WaitingRequest hasty = Request("hasty");
  hasty.deadline = now_ + absl::Seconds(3);
  const absl::Status late = Enter(queue, hasty);
  EXPECT_TRUE(absl::IsUnavailable(late));
  EXPECT_EQ(ErrorCodeOf(late), turned_away::kTooLong);
  EXPECT_EQ(Enter(queue, Request("urgent", -1)), absl::OkStatus());
  int accepted = 0;
  while (Enter(queue, Request("c" + std::to_string(accepted))).ok()) ++accepted;
  EXPECT_NEAR(accepted, 18.5, 1) << "forty in ten seconds, less those that wait already";
}

TEST_F(RequestQueueTest, WhoHasWaitedTooLongLeaves) {
  RequestQueue queue({.wait_max = absl::Seconds(10)});
  ASSERT_EQ(Enter(queue, Request("a")), absl::OkStatus());
  now_ += absl::Seconds(4);
  ASSERT_EQ(Enter(queue, Request("b")), absl::OkStatus());
  EXPECT_TRUE(queue.TakeOverdue(now_ + absl::Seconds(5)).empty());
  const std::vector<TurnedAway> overdue = queue.TakeOverdue(now_ + absl::Seconds(6));
  ASSERT_EQ(overdue.size(), 1u);
  EXPECT_EQ(overdue[0].id, RequestId("a"));
  EXPECT_TRUE(absl::IsUnavailable(overdue[0].why));
  EXPECT_EQ(queue.num_waiting(), 1u);
}

TEST_F(RequestQueueTest, WhoLeavesWhileWaitingIsGoneAtOnce) {
  RequestQueue queue({});
  for (const char* id : {"a", "b", "c"}) ASSERT_EQ(Enter(queue, Request(id)), absl::OkStatus());
  queue.Leave(RequestId("a"), now_);
  queue.Leave(RequestId("nobody"), now_);
  EXPECT_EQ(queue.tokens_waiting(), 20);
  EXPECT_THAT(BeginAll(queue), ElementsAre("b", "c"));
  queue.Leave(RequestId("b"), now_);
  queue.Leave(RequestId("c"), now_);
  EXPECT_TRUE(queue.Lines(now_).empty());
}

}  // namespace
}  // namespace baton::router
