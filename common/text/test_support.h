#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/text/tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

// For the tests of common/text.
namespace baton::text {

using Json = nlohmann::ordered_json;

// A file of common/text/testdata. Run by ctest, or from the repository's root.
inline std::string TestData(std::string_view name) {
  const char* root = std::getenv("BATON_SOURCE_DIR");
  const std::filesystem::path path =
      std::filesystem::path(root != nullptr ? root : ".") / "common/text/testdata" / name;
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good(), "{} cannot be read", path.string());
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// A tokenizer of testdata: "byte_level", "sentencepiece", "metaspace".
inline std::unique_ptr<Tokenizer> TestTokenizer(const std::string& name) {
  auto tokenizer = Tokenizer::FromJson(TestData(name + ".json"));
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

inline const char* const kTestTokenizers[] = {"byte_level", "sentencepiece", "metaspace"};

inline std::vector<int32_t> RandomIds(const Tokenizer& tokenizer, size_t count,
                                      std::mt19937& random) {
  std::vector<int32_t> ids(count);
  // A few that do not exist, on both sides.
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % (tokenizer.vocab_size() + 4)) - 2;
  return ids;
}

// A folder that lives as long as the test.
class TempModel {
 public:
  TempModel() {
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    path_ = std::filesystem::path(testing::TempDir()) /
            ("baton_text_" + test + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
  }
  ~TempModel() { std::filesystem::remove_all(path_); }
  TempModel(const TempModel&) = delete;
  TempModel& operator=(const TempModel&) = delete;

  void Write(std::string_view name, std::string_view content) {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }
  std::string dir() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace baton::text
