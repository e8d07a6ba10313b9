#include "services/router/intake/served_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<ServedModels> Named(const std::vector<std::string>& names) {
  std::vector<std::unique_ptr<ServedModel>> models;
  for (const std::string& name : names) {
    models.push_back(std::make_unique<ServedModel>(name, nullptr, nullptr, absl::OkStatus()));
  }
  return ServedModels::Make(std::move(models));
}

TEST(ServedModelsTest, TheOnlyOneNeedsNoName) {
  const auto models = Named({"a"});
  ASSERT_TRUE(models.ok());
  EXPECT_EQ((*models->Find(""))->name(), "a");
  EXPECT_EQ((*models->Find("a"))->name(), "a");
  EXPECT_EQ(MessageOf(models->Find("b").status()), "model \"b\" is not served here; \"a\" is");
}

TEST(ServedModelsTest, OfSeveralEachIsFoundByItsName) {
  const auto models = Named({"b", "a"});
  ASSERT_TRUE(models.ok());
  EXPECT_THAT(models->names(), ElementsAre("a", "b"));
  EXPECT_EQ((*models->Find("b"))->name(), "b");
  const absl::Status unnamed = models->Find("").status();
  EXPECT_TRUE(absl::IsInvalidArgument(unnamed));
  EXPECT_EQ(FieldOf(unnamed), "model");
  EXPECT_THAT(MessageOf(unnamed), HasSubstr("one of \"a\", \"b\""));
  const absl::Status unknown = models->Find("c").status();
  EXPECT_TRUE(absl::IsNotFound(unknown));
  EXPECT_EQ(ErrorCodeOf(unknown), "model_not_found");
  EXPECT_THAT(MessageOf(unknown), HasSubstr("\"a\", \"b\" are"));
}

TEST(ServedModelsTest, TwoOfOneNameAreRefused) {
  EXPECT_THAT(MessageOf(Named({"a", "b", "a"}).status()), HasSubstr("two models are called \"a\""));
}

}  // namespace
}  // namespace baton::router
