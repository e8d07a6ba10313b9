#include "common/process/ports_file.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

TEST(PortsFile, NamesEachDoorAndLeavesNoDraft) {
  const std::string folder = testing::TempDir() + "/ports_file_test";
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(
      WritePortsFile(folder + "/ports", {{"http", "[::1]:80"}, {"grpc", "127.0.0.1:9"}}).ok());
  std::ifstream file(folder + "/ports");
  EXPECT_EQ(nlohmann::json::parse(file),
            (nlohmann::json{{"http", "[::1]:80"}, {"grpc", "127.0.0.1:9"}}));
  const std::filesystem::directory_iterator entries(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
  std::filesystem::remove_all(folder);
}

TEST(PortsFile, OfNoPathIsNone) { EXPECT_TRUE(WritePortsFile("", {{"grpc", "x"}}).ok()); }

TEST(PortsFile, ThatCannotBeWrittenIsNamed) {
  EXPECT_THAT(WritePortsFile("/no/such/folder/ports", {{"grpc", "x"}}).message(),
              testing::HasSubstr("--ports-file /no/such/folder/ports"));
}

}  // namespace
}  // namespace baton
