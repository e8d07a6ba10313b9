#include "common/concurrency/mailbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace baton {
namespace {

TEST(MailboxTest, FullIsSaidAtTheEdge) {
  Mailbox<int> mailbox(2);
  EXPECT_TRUE(mailbox.TryPush(1));
  EXPECT_TRUE(mailbox.TryPush(2));
  EXPECT_FALSE(mailbox.TryPush(3));
  EXPECT_TRUE(mailbox.Push(4)) << "completions of accepted work are never refused";
  EXPECT_EQ(mailbox.Drain(), (std::vector<int>{1, 2, 4}));
}

TEST(MailboxTest, ClosedTakesNothingButGivesWhatWaits) {
  Mailbox<int> mailbox(2);
  ASSERT_TRUE(mailbox.TryPush(1));
  mailbox.Close();
  EXPECT_FALSE(mailbox.TryPush(2));
  EXPECT_FALSE(mailbox.Push(2));
  EXPECT_EQ(mailbox.WaitAndDrain(absl::InfiniteDuration()), std::vector<int>{1});
}

TEST(MailboxTest, WakesTheOwnerForAMessageFromAnotherThread) {
  Mailbox<int> mailbox(1);
  std::thread producer([&] { EXPECT_TRUE(mailbox.TryPush(7)); });
  EXPECT_EQ(mailbox.WaitAndDrain(absl::Seconds(30)), std::vector<int>{7});
  producer.join();
}

}  // namespace
}  // namespace baton
