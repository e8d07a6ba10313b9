#include "services/router/access/api_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kGold = "sk-gold-0123456789";
constexpr std::string_view kFree = "sk-free-0123456789";
const std::set<std::string> kTenants = {"gold", "free"};

std::string Bearer(std::string_view key) { return "Bearer " + std::string(key); }

std::string WhyNot(std::string_view text) {
  const auto table = ApiKeyTable::Parse(text, kTenants);
  return table.ok() ? "" : MessageOf(table.status());
}

class ApiKeysTest : public testing::Test {
 protected:
  ApiKeysTest() : path_(testing::TempDir() + "/api_keys_test") { std::filesystem::remove(path_); }
  // As a mounted secret changes: another file takes the name.
  void Write(const std::string& text) const {
    std::ofstream(path_ + ".new") << text;
    std::rename((path_ + ".new").c_str(), path_.c_str());
  }
  const std::string path_;
};

TEST(ApiKeyTableTest, AKeyHasTheTenantOfItsLine) {
  const auto table =
      ApiKeyTable::Parse("# ours\n\nsk-gold-0123456789 gold\r\n  sk-plain-0123456789\n", kTenants);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->TenantOf(kGold), "gold");
  EXPECT_EQ(table->TenantOf("sk-plain-0123456789"), "default");
  EXPECT_EQ(table->TenantOf("sk-gold-012345678"), std::nullopt);
  EXPECT_EQ(table->TenantOf(""), std::nullopt);
}

TEST(ApiKeyTableTest, ADigestStandsForItsKey) {
  // printf %s 'sk-gold-0123456789' | sha256sum
  const auto table = ApiKeyTable::Parse(
      "sha256:6122f9cf8893f6495f1c9586741e140dde1eccd4788433718444bd621bf5f862 gold", kTenants);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->TenantOf(kGold), "gold");
  EXPECT_EQ(
      table->TenantOf("sha256:6122f9cf8893f6495f1c9586741e140dde1eccd4788433718444bd621bf5f862"),
      std::nullopt);
}

TEST(ApiKeyTableTest, AMistakeNamesItsLineAndNotTheKey) {
  const std::string short_key = "sk-secret";
  EXPECT_THAT(WhyNot("# x\n" + short_key + "\n"), HasSubstr("line 2: a key has 16 to 256"));
  EXPECT_THAT(WhyNot(short_key), Not(HasSubstr(short_key)));
  EXPECT_THAT(WhyNot("sha256:12ab gold"), HasSubstr("line 1: sha256: must be followed by 64"));
  const std::string swapped = "a-long-enough-name sk-gold-0123456789";
  EXPECT_THAT(WhyNot(swapped), HasSubstr("line 1: the second word must be a tenant"));
  EXPECT_THAT(WhyNot(swapped), Not(HasSubstr(std::string(kGold))));
  EXPECT_THAT(WhyNot("sk-gold-0123456789 gold extra"), HasSubstr("this one has 3 words"));
  EXPECT_THAT(WhyNot("sk-gold-0123456789\n\nsk-gold-0123456789 gold"),
              HasSubstr("line 3: the same key as in line 1"));
  EXPECT_THAT(WhyNot("# nobody\n"), HasSubstr("holds no key"));
}

TEST_F(ApiKeysTest, WithoutAFileEverybodySpeaksForTheTenantTheyName) {
  const ApiKeys keys;
  EXPECT_FALSE(keys.required());
  EXPECT_EQ(*keys.TenantOf("", "gold"), "gold");
}

TEST_F(ApiKeysTest, AKeyDecidesTheTenantAndNotTheClaim) {
  Write("sk-gold-0123456789 gold\nsk-free-0123456789 free\n");
  const auto keys = ApiKeys::Load(path_, kTenants);
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(*(*keys)->TenantOf(Bearer(kFree), "gold"), "free");
  EXPECT_EQ(*(*keys)->TenantOf("bearer  sk-gold-0123456789", ""), "gold");
}

TEST_F(ApiKeysTest, WhoHasNoKeyOrAWrongOneIsToldWhich) {
  Write(std::string(kGold));
  const auto keys = ApiKeys::Load(path_, kTenants);
  ASSERT_TRUE(keys.ok()) << keys.status();
  for (const std::string none : {"", "Basic abc", "Bearer", "Bearer   "}) {
    const auto tenant = (*keys)->TenantOf(none, "gold");
    EXPECT_EQ(tenant.status().code(), absl::StatusCode::kUnauthenticated) << none;
    EXPECT_EQ(ErrorCodeOf(tenant.status()), "missing_api_key") << none;
  }
  const auto wrong = (*keys)->TenantOf(Bearer(kFree), "gold");
  EXPECT_EQ(ErrorCodeOf(wrong.status()), "invalid_api_key");
  EXPECT_THAT(MessageOf(wrong.status()), Not(HasSubstr(std::string(kFree))));
}

TEST_F(ApiKeysTest, AMissingFileIsNamedWithWhatToDo) {
  const auto keys = ApiKeys::Load(path_, kTenants);
  EXPECT_EQ(keys.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(keys.status()), HasSubstr(path_ + ": cannot be read; is the secret"));
}

TEST_F(ApiKeysTest, AChangedFileCountsAndABrokenOneDoesNot) {
  Write(std::string(kGold));
  const auto loaded = ApiKeys::Load(path_, kTenants);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ApiKeys& keys = **loaded;
  keys.Refresh(absl::Seconds(10));
  EXPECT_TRUE(keys.TenantOf(Bearer(kGold), "").ok());

  Write(std::string(kFree) + " free");
  keys.Refresh(absl::Seconds(10.5));  // too soon to look
  EXPECT_TRUE(keys.TenantOf(Bearer(kGold), "").ok());
  keys.Refresh(absl::Seconds(11));
  EXPECT_FALSE(keys.TenantOf(Bearer(kGold), "").ok());
  EXPECT_EQ(*keys.TenantOf(Bearer(kFree), ""), "free");

  Write("# all gone");
  keys.Refresh(absl::Seconds(12));
  EXPECT_EQ(*keys.TenantOf(Bearer(kFree), ""), "free");
  std::filesystem::remove(path_);
  keys.Refresh(absl::Seconds(13));
  EXPECT_EQ(*keys.TenantOf(Bearer(kFree), ""), "free");
  Write(std::string(kGold));
  keys.Refresh(absl::Seconds(14));
  EXPECT_TRUE(keys.TenantOf(Bearer(kGold), "").ok());
}

}  // namespace
}  // namespace baton::router
