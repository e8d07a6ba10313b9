#include "common/config/command_line.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::config {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const Program kDecode = {.name = "baton-decode-worker",
                         .about = "Decodes.",
                         .examples = "  baton-decode-worker --model M",
                         .sections = {"model", "decode"}};

std::optional<Exit> Parsed(const std::vector<const char*>& flags,
                           const std::map<std::string, std::string>& variables,
                           ClusterOptions& options, const Program& program = kDecode) {
  std::vector<const char*> argv = {"x"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  auto environment = [&variables](const std::string& name) {
    auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  };
  return ParseCommandLine(program, static_cast<int>(argv.size()), argv.data(), environment,
                          options);
}

class File {
 public:
  explicit File(const std::string& text) : path_(testing::TempDir() + "/baton_cluster.yaml") {
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  const char* path() const { return path_.c_str(); }

 private:
  std::string path_;
};

TEST(CommandLineTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  File file("decode:\n  batch_sequences_max: 2\n  step_tokens_max: 99\n  threads: 3\n");
  ClusterOptions options;
  auto exit = Parsed({"--config", file.path(), "--max-batch-size=4"},
                     {{"MAX_BATCH_SIZE", "3"}, {"BATON_DECODE_STEP_TOKENS_MAX", "100"}}, options);
  ASSERT_FALSE(exit) << exit->text;
  EXPECT_EQ(options.decode.batch_sequences_max, 4);
  EXPECT_EQ(options.decode.step_tokens_max, 100);
  EXPECT_EQ(options.decode.threads, 3);
  EXPECT_EQ(options.decode.block_tokens, 16);
  // The general variable reaches both kinds of worker.
  EXPECT_EQ(options.prefill.batch_sequences_max, 3);
  const std::string text = EffectiveText({&options.section("decode")});
  EXPECT_THAT(text, testing::ContainsRegex("decode.batch_sequences_max +4 +--max-batch-size"));
  EXPECT_THAT(text, testing::ContainsRegex("decode.threads +3 +.*baton_cluster.yaml:4"));
  EXPECT_THAT(text, testing::ContainsRegex("decode.block_tokens +16 +default"));
}

TEST(CommandLineTest, WaitingTokensComeFromTheEnvironment) {
  ClusterOptions options;
  ASSERT_FALSE(Parsed({}, {{"MAX_WAITING_TOKENS", "5000"}}, options));
  EXPECT_EQ(options.decode.waiting_tokens_max, 5000);
  EXPECT_EQ(options.prefill.waiting_tokens_max, 5000);
}

TEST(CommandLineTest, AWrongFlagIsAUsageErrorWithASuggestion) {
  ClusterOptions options;
  auto exit = Parsed({"--max-batchsize", "3"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, kExitUsage);
  EXPECT_THAT(exit->text,
              HasSubstr("unknown flag '--max-batchsize' (did you mean '--max-batch-size'?)"));
  exit = Parsed({"--max-batch-size", "0"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->text, HasSubstr("--max-batch-size must be between 1 and 4096, got 0"));
  exit = Parsed({"stray"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->text, HasSubstr("unexpected argument 'stray'"));
}

TEST(CommandLineTest, AWrongVariableOrFileIsAConfigurationError) {
  ClusterOptions options;
  auto exit = Parsed({}, {{"MAX_BATCH_SIZE", "many"}}, options);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, kExitConfig);
  EXPECT_THAT(exit->text, HasSubstr("MAX_BATCH_SIZE must be a whole number, got 'many'"));
  File file("router:\n  htp: x\n");
  exit = Parsed({"--config", file.path()}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, kExitConfig);
  EXPECT_THAT(exit->text, HasSubstr(":2: unknown key 'router.htp'"));
  exit = Parsed({"--config", "nowhere.yaml"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->text, HasSubstr("nowhere.yaml: cannot be opened"));
}

TEST(CommandLineTest, AMistakeInTheFileCountsEvenWhenAFlagOverridesIt) {
  File file("decode:\n  threads: none\n");
  ClusterOptions options;
  EXPECT_TRUE(Parsed({"--config", file.path(), "--threads", "2"}, {}, options));
}

TEST(CommandLineTest, SetReachesEverySection) {
  ClusterOptions options;
  ASSERT_FALSE(Parsed({"--set", "prefill.threads=7", "--set", "up.decode=2"}, {}, options));
  EXPECT_EQ(options.prefill.threads, 7);
  EXPECT_EQ(options.up.decode, 2);
  auto exit = Parsed({"--set", "prefill.thread=7"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->text, HasSubstr("did you mean 'prefill.threads'?"));
}

TEST(CommandLineTest, HelpShowsGroupsDefaultsAndVariables) {
  ClusterOptions options;
  auto exit = Parsed({"--help"}, {}, options);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, 0);
  EXPECT_THAT(exit->text, HasSubstr("Decode worker"));
  EXPECT_THAT(exit->text, HasSubstr("env MAX_BATCH_SIZE"));
  EXPECT_THAT(exit->text, HasSubstr("[64]"));
}

TEST(CommandLineTest, FlagsForAChildRebuildTheSameOptions) {
  ClusterOptions parent;
  ASSERT_FALSE(Parsed({"--threads", "3", "--kv-memory", "96MiB", "--router", "a:1,b:2",
                       "--prefix-cache", "off", "--metrics", ":9100", "--drain-timeout", "250ms"},
                      {}, parent));
  const std::vector<std::string> flags = parent.section("decode").AsFlags();
  EXPECT_EQ(flags.size(), 6u);
  std::vector<const char*> argv;
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  ClusterOptions child;
  ASSERT_FALSE(Parsed(argv, {}, child));
  EXPECT_EQ(child.section("decode").AsFlags(), flags);
  EXPECT_EQ(child.decode.routers, parent.decode.routers);
}

TEST(ModelOptionsTest, TheServedNameIsTheFoldersUnlessGiven) {
  ModelOptions model;
  model.path = "models/baton-demo/";
  EXPECT_EQ(model.served_name(), "baton-demo");
  model.name = "chatty";
  EXPECT_EQ(model.served_name(), "chatty");
  model.path = "no/such/folder";
  EXPECT_THAT(MessageOf(model.Validate()), HasSubstr("--model no/such/folder"));
}

TEST(WorkerOptionsTest, BlockSizesOtherThanTheSupportedAreRefused) {
  WorkerOptions worker;
  EXPECT_TRUE(worker.Validate("decode").ok());
  worker.block_tokens = 17;
  EXPECT_EQ(MessageOf(worker.Validate("decode")),
            "decode.block_tokens must be 16, 32 or 64, got 17");
}

TEST(WorkerOptionsTest, WhoMultipliesIsOurOwnUnlessSaid) {
  ClusterOptions options;
  ASSERT_FALSE(Parsed({}, {}, options));
  EXPECT_EQ(options.decode.gemm, GemmBy::kOwn);
  ASSERT_FALSE(Parsed({"--gemm=auto", "--gemm-cache=/tmp/times"}, {}, options));
  EXPECT_EQ(options.decode.gemm, GemmBy::kAuto);
  EXPECT_EQ(options.decode.gemm_cache_folder(), "/tmp/times");
  EXPECT_TRUE(Parsed({"--gemm=mkl"}, {}, options));
}

TEST(WorkerOptionsTest, CublasLtAndDeterministicExcludeEachOther) {
  WorkerOptions worker;
  worker.deterministic = true;
  worker.gemm = GemmBy::kAuto;
  EXPECT_TRUE(worker.Validate("decode").ok());
  worker.gemm = GemmBy::kCublasLt;
  EXPECT_THAT(MessageOf(worker.Validate("decode")),
              AllOf(HasSubstr("decode.gemm"), HasSubstr("deterministic")));
}

// The variables as they were, afterwards.
class GemmCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      before_[name] = value == nullptr ? "" : value;
    }
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  std::map<std::string, std::string> before_;
};

TEST_F(GemmCacheTest, TimesAreInTheUsersFolderForCachesUnlessSaid) {
  WorkerOptions worker;
  ::setenv("HOME", "/home/somebody", 1);
  ::setenv("XDG_CACHE_HOME", "/var/caches", 1);
  EXPECT_EQ(worker.gemm_cache_folder(), "/var/caches/baton");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(worker.gemm_cache_folder(), "/home/somebody/.cache/baton");
  ::setenv("HOME", "", 1);
  EXPECT_EQ(worker.gemm_cache_folder(), "") << "nowhere";
  worker.gemm_cache = "none";
  ::setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(worker.gemm_cache_folder(), "");
}

}  // namespace
}  // namespace baton::config
