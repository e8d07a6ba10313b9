#include "common/http/page_server.h"

#include <gtest/gtest.h>

#include "common/http/http_call.h"

namespace baton::http {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);
const config::Address kAnyPort{"127.0.0.1", 0};

PageServer::Pages OnePage() {
  return {{"/page", [] { return Page{.body = R"({"a":1})"}; }}};
}

TEST(PageServerTest, AnswersWhatItHasAgainAndAgain) {
  const auto server = PageServer::Listen(kAnyPort, OnePage());
  ASSERT_TRUE(server.ok()) << server.status();
  for (int i = 0; i < 3; ++i) {
    const auto reply = Get({(*server)->address()}, "/page?what=ever", kPatience);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->body, R"({"a":1})");
  }
}

TEST(PageServerTest, RefusesOtherPathsAndMethods) {
  const auto server = PageServer::Listen(kAnyPort, OnePage());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Get({(*server)->address()}, "/other", kPatience)->status, 404);
  EXPECT_EQ(Call({(*server)->address()}, "PUT", "/page", "", kPatience)->status, 405);
}

TEST(PageServerTest, NamesAnAddressThatIsTaken) {
  const auto server = PageServer::Listen(kAnyPort, OnePage());
  ASSERT_TRUE(server.ok()) << server.status();
  const auto other = PageServer::Listen((*server)->address(), OnePage());
  ASSERT_TRUE(absl::IsUnavailable(other.status())) << other.status();
  EXPECT_NE(other.status().message().find((*server)->address().text()), std::string::npos);
}

}  // namespace
}  // namespace baton::http
