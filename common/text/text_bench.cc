// Costs of the text path: encoding prompts, rendering conversations, and one token's way out.
//   text_bench                             # the tokenizers of testdata
//   BATON_BENCH_MODEL=folder text_bench    # and a real one

#include <cstdlib>
#include <map>

#include "benchmark/benchmark.h"
#include "common/base/check.h"
#include "common/text/chat_template.h"
#include "common/text/incremental_detokenizer.h"
#include "common/text/stop_matcher.h"
#include "common/text/test_support.h"

namespace baton::text {
namespace {

const Tokenizer& TokenizerOf(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Tokenizer>> loaded;
  std::unique_ptr<Tokenizer>& tokenizer = loaded[name];
  if (tokenizer == nullptr && name == "model") {
    auto model = Tokenizer::Load(std::getenv("BATON_BENCH_MODEL"));
    CHECK_OK(model.status());
    tokenizer = *std::move(model);
  } else if (tokenizer == nullptr) {
    tokenizer = TestTokenizer(name);
  }
  return *tokenizer;
}

// Prose, with a number in each sentence so that it does not just repeat.
std::string Prose(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) {
    text +=
        fmt::format("Block {} travels while layer {} is computed, and nobody waits. ", i * 7, i);
    if (i % 5 == 0) text += "Größe zählt; 请求先到路由器。\n\n";
  }
  return text;
}

void Encode(benchmark::State& state, const std::string& name, const std::string& text) {
  const Tokenizer& tokenizer = TokenizerOf(name);
  size_t tokens = 0;
  for (auto _ : state) {
    const auto ids = tokenizer.Encode(text, /*add_special_tokens=*/true);
    CHECK_OK(ids.status());
    tokens = ids->size();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["tokens"] = static_cast<double>(tokens);
}

void Detokenize(benchmark::State& state, const std::string& name) {
  const Tokenizer& tokenizer = TokenizerOf(name);
  const auto ids = *tokenizer.Encode(Prose(20000), /*add_special_tokens=*/false);
  for (auto _ : state) {
    IncrementalDetokenizer detokenizer(tokenizer, {});
    StopMatcher matcher({.stops = {"\n\nUser:", "</answer>", "never", "Observation:"}});
    for (const int32_t id : ids) {
      benchmark::DoNotOptimize(matcher.Push(detokenizer.Push(id)));
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * ids.size()));
}

void RenderChat(benchmark::State& state) {
  TokenizerConfig config{.bos_token = "<s>", .eos_token = "</s>"};
  config.chat_template = TestData("chat/header_blocks.jinja");
  const auto chat = *ChatTemplate::FromConfig(config);
  Json messages = Json::array();
  for (int i = 0; i < state.range(0); ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", Prose(300)}});
  }
  for (auto _ : state) {
    const auto text = chat->Render({.messages = messages});
    CHECK_OK(text.status());
  }
}
BENCHMARK(RenderChat)->Arg(1)->Arg(20)->Arg(200)->ArgName("messages");

void RegisterFor(const std::string& name) {
  for (const int kib : {1, 20, 200}) {
    benchmark::RegisterBenchmark(fmt::format("Encode/{}/prose_{}KiB", name, kib).c_str(), Encode,
                                 name, Prose(kib * 1024));
  }
  benchmark::RegisterBenchmark(fmt::format("Encode/{}/one_word_200KiB", name).c_str(), Encode, name,
                               std::string(200 * 1024, 'a'));
  benchmark::RegisterBenchmark(fmt::format("Encode/{}/blanks_200KiB", name).c_str(), Encode, name,
                               std::string(200 * 1024, ' '));
  benchmark::RegisterBenchmark(fmt::format("Detokenize/{}", name).c_str(), Detokenize, name);
}

}  // namespace
}  // namespace baton::text

int main(int argc, char** argv) {
  for (const char* name : baton::text::kTestTokenizers) baton::text::RegisterFor(name);
  if (std::getenv("BATON_BENCH_MODEL") != nullptr) baton::text::RegisterFor("model");
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
