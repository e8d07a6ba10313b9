#include "common/config/cluster_file.h"

#include <random>

#include "common/config/cluster_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::config {
namespace {

using testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  ClusterOptions options;
  return MessageOf(ReadClusterText(text, "cluster.yaml", options.schema()));
}

TEST(ClusterFileTest, ValuesReachTheirFields) {
  ClusterOptions options;
  const absl::Status status = ReadClusterText(R"(
model: {path: models/x, dtype: bf16}
router:
  http: 0.0.0.0:80
  body_bytes_max: 1MiB
  request_timeout: none
prefill:
  threads: auto
decode:
  routers: [a:1, "b:2"]
  prefix_cache: off
  kv_memory: 256MiB
  drain_timeout: 1.5s
up:
  decode: 3
)",
                                              "cluster.yaml", options.schema());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(options.model.dtype, Dtype::kBf16);
  EXPECT_EQ(options.router.http.port, 80);
  EXPECT_EQ(options.router.body_bytes_max, MiB(1));
  EXPECT_EQ(options.router.request_timeout, absl::ZeroDuration());
  EXPECT_EQ(options.decode.routers.size(), 2u);
  EXPECT_FALSE(options.decode.prefix_cache);
  EXPECT_TRUE(options.prefill.prefix_cache);
  EXPECT_EQ(options.decode.kv_memory, MiB(256));
  EXPECT_EQ(options.decode.drain_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(options.up.decode, 3);
}

TEST(ClusterFileTest, NamesWithAValueEachAreAMapOrWhatFlagsTake) {
  for (const char* text : {"router: {model_placement: {org/a: kv-aware, b=c: random}}",
                           "router: {model_placement: 'org/a=kv-aware, b=c=random'}"}) {
    ClusterOptions options;
    ASSERT_EQ(ReadClusterText(text, "cluster.yaml", options.schema()), absl::OkStatus());
    EXPECT_EQ(options.router.model_placement,
              (std::map<std::string, std::string>{{"org/a", "kv-aware"}, {"b=c", "random"}}));
    EXPECT_EQ(options.section("router").Find("model_placement")->format(),
              "b=c=random,org/a=kv-aware");
  }
  EXPECT_THAT(ErrorOf("router: {model_placement: qwen}"),
              HasSubstr("router.model_placement must be NAME=VALUE, got 'qwen'"));
  EXPECT_THAT(ErrorOf("router: {model_placement: 'a=cost,a=random'}"), HasSubstr("'a' twice"));
  EXPECT_THAT(ErrorOf("router:\n  model_placement: {a: [cost]}"),
              HasSubstr("cluster.yaml:2: router.model_placement must be a map of single words"));
  EXPECT_THAT(ErrorOf("router: {model_placement: {a: 'cost,b=random'}}"), HasSubstr("commas"));
  EXPECT_THAT(ErrorOf("router: {model_placement: [a=cost]}"), HasSubstr("got a list"));
  EXPECT_THAT(ErrorOf("router: {placement: {a: cost}}"), HasSubstr("got a map"));
}

TEST(ClusterFileTest, TenantsHaveWeightsAndBounds) {
  ClusterOptions options;
  ASSERT_EQ(ReadClusterText("router:\n  tenants: {gold: 3, free: 0.5}\n"
                            "  tenant_requests_max: {free: 100, default: 7}\n"
                            "  queue_order: shortest\n",
                            "cluster.yaml", options.schema()),
            absl::OkStatus());
  const QueueOptions& queue = options.router.queue;
  EXPECT_EQ(queue.tenants, (std::map<std::string, double>{{"free", 0.5}, {"gold", 3}}));
  EXPECT_EQ(queue.order, QueueOrder::kShortest);
  EXPECT_EQ(queue.Validate(), absl::OkStatus());
  EXPECT_EQ(options.section("router").Find("tenants")->format(), "free=0.5,gold=3");
  EXPECT_EQ(
      ErrorOf("router: {tenants: {gold: many}}"),
      "cluster.yaml:1: router.tenants gives 'gold' a value that must be a number, got 'many'");
  EXPECT_THAT(ErrorOf("router: {tenant_tokens_max: 'free=1.5'}"), HasSubstr("whole number"));
}

TEST(ClusterFileTest, TenantsThatMakeNoSenseAreRefused) {
  const auto error = [](const QueueOptions& options) { return MessageOf(options.Validate()); };
  EXPECT_EQ(error({.tenants = {{"gold", 0}}}),
            "router.tenants: the weight of gold must be between 0.001 and 1000000, got 0");
  EXPECT_THAT(error({.tenants = {{"a b", 1}}}), HasSubstr("'a b' must be at most 64 letters"));
  EXPECT_EQ(error({.tenants = {{"gold", 3}}, .tenant_tokens_max = {{"gild", 5}}}),
            "router.tenant_tokens_max: there is no tenant 'gild' in router.tenants (did you mean "
            "'gold'?)");
  EXPECT_EQ(error({.tenant_requests_max = {{"default", 0}}}),
            "router.tenant_requests_max: the bound of default must be at least 1, got 0");
  EXPECT_THAT(error({.tenant_header = "x: y"}), HasSubstr("router.tenant_header"));
}

TEST(ClusterFileTest, FilesThatBelongTogetherAreAskedForTogether) {
  RouterOptions router;
  router.tls.certificate = "a.crt";
  EXPECT_EQ(MessageOf(router.Validate()),
            "router.tls_certificate, router.tls_key and router.tls_ca belong together; missing: "
            "tls_key");
  router.tls = {.certificate = "a.crt", .key = "a.key", .ca = "ca.crt"};
  EXPECT_TRUE(router.Validate().ok());
  router.http_tls_key = "door.key";
  EXPECT_THAT(MessageOf(router.Validate()), HasSubstr("missing: http_tls_certificate"));
  WorkerOptions worker;
  worker.tls.ca = "ca.crt";
  EXPECT_THAT(MessageOf(worker.Validate("decode")), HasSubstr("missing: tls_certificate"));
}

TEST(ClusterFileTest, APolicyThatDoesNotExistIsAnsweredWithThoseThatDo) {
  RouterOptions router;
  EXPECT_TRUE(router.Validate().ok());
  router.model_placement = {{"qwen", "kv-awear"}};
  EXPECT_THAT(MessageOf(router.Validate()),
              HasSubstr("router.model_placement of qwen: there is no policy 'kv-awear' (did you "
                        "mean 'kv-aware'?); there are cost, lowest-latency"));
  router.model_placement.clear();
  router.placement = "";
  EXPECT_THAT(MessageOf(router.Validate()), HasSubstr("router.placement: there is no policy ''"));
}

TEST(ClusterFileTest, MistakesAreNamedWithTheirLine) {
  EXPECT_EQ(ErrorOf("decode:\n  batch_sequences_max: 0\n"),
            "cluster.yaml:2: decode.batch_sequences_max must be between 1 and 4096, got 0");
  EXPECT_EQ(ErrorOf("\ndecode:\n  kv_memroy: 1GiB\n"),
            "cluster.yaml:3: unknown key 'decode.kv_memroy' (did you mean 'kv_memory'?)");
  EXPECT_EQ(ErrorOf("decoder: {}\n"),
            "cluster.yaml:1: unknown section 'decoder' (did you mean 'decode'?)");
  EXPECT_THAT(ErrorOf("decode: {kv_memory: 512}"), HasSubstr("unit such as 512MiB, got '512'"));
  EXPECT_THAT(ErrorOf("decode: {drain_timeout: 5}"), HasSubstr("250ms, 5s, 2m or 1h, got '5'"));
  EXPECT_THAT(ErrorOf("decode: {threads: [1]}"), HasSubstr("must be a single value, got a list"));
  EXPECT_THAT(ErrorOf("decode: {threads: two}"), HasSubstr("must be a whole number, got 'two'"));
  EXPECT_THAT(ErrorOf("decode: {threads: 99999999999}"), HasSubstr("must fit into 32 bits"));
  EXPECT_THAT(ErrorOf("decode: {threads: }"), HasSubstr("has no value"));
  EXPECT_THAT(ErrorOf("decode:\n  threads: 1\n  threads: 2\n"),
              HasSubstr("cluster.yaml:3: 'decode.threads' is given twice"));
  EXPECT_THAT(ErrorOf("model: {dtype: f16}"), HasSubstr("must be one of auto|f32|bf16, got 'f16'"));
  EXPECT_THAT(ErrorOf("model: {kv_dtype: fp4}"),
              HasSubstr("must be one of auto|f32|bf16|fp8|int8, got 'fp4'"));
  EXPECT_THAT(ErrorOf("[1, 2]"), HasSubstr("must be a map of sections"));
  EXPECT_THAT(ErrorOf("decode: 7"), HasSubstr("decode must be a map of options"));
  EXPECT_THAT(ErrorOf("a: [\n"), HasSubstr("not YAML"));
}

TEST(ClusterFileTest, AllMistakesAreListed) {
  const std::string error = ErrorOf("decode:\n  threads: x\n  isa: mmx\nup:\n  decode: 0\n");
  EXPECT_THAT(error, HasSubstr("cluster.yaml:2: decode.threads"));
  EXPECT_THAT(error, HasSubstr("cluster.yaml:3: decode.isa"));
  EXPECT_THAT(error, HasSubstr("cluster.yaml:5: up.decode"));
}

TEST(ClusterFileTest, EmptyFilesAndSectionsMeanDefaults) {
  EXPECT_EQ(ErrorOf(""), "");
  EXPECT_EQ(ErrorOf("# nothing\n"), "");
  EXPECT_EQ(ErrorOf("decode:\nprefill: {}\n"), "");
}

TEST(ClusterFileTest, EveryDefaultReadsBackAsItself) {
  ClusterOptions options;
  for (OptionSet* set : options.schema()) {
    for (Option& option : set->options()) {
      const std::string before = option.format();
      EXPECT_TRUE(option.parse(before).ok()) << option.name() << " = " << before;
      EXPECT_EQ(option.format(), before) << option.name();
    }
  }
}

TEST(ClusterFileTest, GarbageNeverCrashes) {
  std::mt19937 random(7);
  const std::string alphabet = "decode:model \n\t{}[]-,#&*!|>'\"%@`?~0123456789.\xc3\x28\x00";
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    const size_t size = random() % 60;
    while (text.size() < size) text += alphabet[random() % alphabet.size()];
    ErrorOf(text);
  }
  ErrorOf(std::string(100000, '['));
  ErrorOf(std::string(2 << 20, 'a'));
}

TEST(ClusterFileTest, DevicesAreNamedAsTheDriverCountsThem) {
  EXPECT_EQ(ParseDevice("auto")->text(), "auto");
  EXPECT_EQ(ParseDevice("cpu")->text(), "cpu");
  EXPECT_EQ(ParseDevice("cuda")->text(), "cuda:0");
  EXPECT_EQ(ParseDevice("cuda:7")->index, 7);
  for (const char* text : {"gpu", "cuda:", "cuda:-1", "cuda:64", "cuda:1x", "CUDA:1", ""}) {
    EXPECT_FALSE(ParseDevice(text).ok()) << text;
  }
  EXPECT_THAT(ErrorOf("decode:\n  device: gpu\n"),
              HasSubstr("cluster.yaml:2: decode.device must be auto, cpu, cuda or cuda:N (N from 0 "
                        "to 63), got 'gpu'"));
}

}  // namespace
}  // namespace baton::config
