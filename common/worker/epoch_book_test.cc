#include "common/worker/epoch_book.h"

#include <gtest/gtest.h>

namespace baton::worker {
namespace {

TEST(EpochBookTest, AFencedEpochNeverBegins) {
  EpochBook book;
  bool over = false;
  EXPECT_EQ(book.Fence("decode-0", 7, [&] { over = true; }), std::nullopt);
  EXPECT_TRUE(over) << "an epoch that never began is over";
  EXPECT_TRUE(absl::IsFailedPrecondition(book.Begin("decode-0", 7, 1)));
  EXPECT_TRUE(book.Begin("decode-1", 7, 2).ok()) << "another caller's epochs are its own";
  EXPECT_TRUE(book.Begin("decode-0", 8, 3).ok());
}

TEST(EpochBookTest, ARunningEpochIsOverWhenItEnds) {
  EpochBook book;
  ASSERT_TRUE(book.Begin("decode-0", 1, 42).ok());
  int over = 0;
  EXPECT_EQ(book.Fence("decode-0", 1, [&] { ++over; }), 42u) << "to be stopped by its local name";
  EXPECT_EQ(book.Fence("decode-0", 1, [&] { ++over; }), 42u);
  EXPECT_EQ(over, 0);
  book.End("decode-0", 1);
  EXPECT_EQ(over, 2);
  book.End("decode-0", 1);
  EXPECT_EQ(over, 2);
}

TEST(EpochBookTest, TheSameEpochDoesNotRunTwiceAtATime) {
  EpochBook book;
  ASSERT_TRUE(book.Begin("decode-0", 1, 1).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(book.Begin("decode-0", 1, 2)));
}

TEST(EpochBookTest, ForgetsTheOldestFencesFirst) {
  EpochBook book;
  for (uint64_t epoch = 0; epoch <= EpochBook::kFencedMax; ++epoch) {
    book.Fence("decode-0", epoch, [] {});
  }
  EXPECT_TRUE(book.Begin("decode-0", 0, 1).ok());
  EXPECT_FALSE(book.Begin("decode-0", 1, 2).ok());
}

}  // namespace
}  // namespace baton::worker
