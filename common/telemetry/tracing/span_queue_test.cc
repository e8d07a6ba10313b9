#include "common/telemetry/tracing/span_queue.h"

#include <functional>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::telemetry {
namespace {

using testing::HasSubstr;

// What a sink has been sent, and what it says to it.
struct Record {
  absl::Mutex mutex;
  std::vector<size_t> batches;  // sizes
  std::function<absl::Status()> answer = [] { return absl::OkStatus(); };

  size_t sent() {
    absl::MutexLock lock(&mutex);
    size_t all = 0;
    for (const size_t batch : batches) all += batch;
    return all;
  }
};

class RecordingSink : public SpanSink {
 public:
  explicit RecordingSink(Record& record) : record_(record) {}
  absl::Status Send(std::span<const Span> spans) override {
    absl::Status answer = record_.answer();
    absl::MutexLock lock(&record_.mutex);
    record_.batches.push_back(spans.size());
    return answer;
  }

 private:
  Record& record_;
};

class SpanQueueTest : public testing::Test {
 protected:
  std::unique_ptr<SpanQueue> Queue(SpanQueue::Options options) {
    return std::make_unique<SpanQueue>(options, std::make_unique<RecordingSink>(record_), metrics_);
  }
  void AwaitSends(size_t count) {
    absl::MutexLock lock(&record_.mutex);
    const auto sent = [&] { return record_.batches.size() >= count; };
    record_.mutex.Await(absl::Condition(&sent));
  }
  static std::vector<Span> Spans(size_t count) { return std::vector<Span>(count); }
  std::string Counted(const std::string& outcome, int count) {
    return "baton_trace_spans_total{outcome=\"" + outcome + "\"} " + std::to_string(count);
  }

  Metrics metrics_;
  Record record_;
};

TEST_F(SpanQueueTest, WhatIsAddedBeforeTheEndIsSentInBatches) {
  auto queue = Queue({.batch_spans = 4, .linger = absl::ZeroDuration()});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue->Add(Spans(2)));
  queue->Close();
  EXPECT_EQ(record_.sent(), 10u);
  for (const size_t batch : record_.batches) EXPECT_LE(batch, 4u);
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("exported", 10)));
  EXPECT_FALSE(queue->Add(Spans(1))) << "nothing is taken afterwards";
}

TEST_F(SpanQueueTest, BeyondItsBoundWholeTracesAreDroppedAndCounted) {
  absl::Notification held, go_on;
  record_.answer = [&] {
    if (!held.HasBeenNotified()) held.Notify();
    go_on.WaitForNotification();
    return absl::OkStatus();
  };
  auto queue = Queue({.spans_max = 4, .linger = absl::ZeroDuration()});
  EXPECT_TRUE(queue->Add(Spans(1)));
  held.WaitForNotification();  // it is with the sink: the queue is empty
  EXPECT_TRUE(queue->Add(Spans(3)));
  EXPECT_FALSE(queue->Add(Spans(2))) << "one of them would fit";
  EXPECT_TRUE(queue->Add(Spans(1)));
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("dropped", 2)));
  go_on.Notify();
  queue->Close();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("exported", 5)));
}

TEST_F(SpanQueueTest, WhatTheSinkDoesNotTakeIsCountedAndTheNextIsTried) {
  bool fail = true;
  record_.answer = [&] {
    return std::exchange(fail, false) ? absl::UnavailableError("gone") : absl::OkStatus();
  };
  auto queue = Queue({.linger = absl::ZeroDuration(), .failure_pause = absl::ZeroDuration()});
  EXPECT_TRUE(queue->Add(Spans(3)));
  AwaitSends(1);
  EXPECT_TRUE(queue->Add(Spans(2)));
  AwaitSends(2);
  queue->Close();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("failed", 3)));
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("exported", 2)));
}

TEST_F(SpanQueueTest, ASinkThatTakesNothingEndsTheFlushAtOnce) {
  record_.answer = [] { return absl::UnavailableError("gone"); };
  auto queue =
      Queue({.batch_spans = 1, .failure_pause = absl::Hours(1), .flush_timeout = absl::Hours(1)});
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(queue->Add(Spans(1)));
  queue->Close();
  EXPECT_LE(record_.sent(), 2u) << "one before the end, and one in it";
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("exported", 0)));
}

TEST_F(SpanQueueTest, ASinkThatIsSlowEndsTheFlushAfterItsTime) {
  absl::Notification closing;
  record_.answer = [&] {
    closing.WaitForNotification();
    return absl::OkStatus();
  };
  auto queue = Queue(
      {.batch_spans = 1, .linger = absl::ZeroDuration(), .flush_timeout = absl::ZeroDuration()});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(queue->Add(Spans(1)));
  closing.Notify();
  queue->Close();
  const size_t sent = record_.sent();
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("exported", static_cast<int>(sent))));
  EXPECT_THAT(metrics_.Text(), HasSubstr(Counted("dropped", 100 - static_cast<int>(sent))));
}

}  // namespace
}  // namespace baton::telemetry
