// One engine, tokens in and tokens out: what a model does on this machine, without a cluster.
//
//   prefill  one prompt of N tokens, alone: N over the time to its first token
//   decode   B sequences side by side: B over the median time between two steps that had them all
//
// Prints one line of JSON per figure; bench/run.sh runs it in turn with other engines.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/engine/step_recorder.h"
#include "bench/kernels/roofline.h"
#include "common/base/check.h"
#include "common/engine/engine.h"
#include "common/model/device.h"
#include "common/model/load_model.h"
#include "common/model/quantize.h"
#include "nlohmann/json.hpp"

namespace baton::bench {
namespace {

struct Options {
  std::string model;
  std::string load_format = "safetensors";
  std::string dtype = "auto";
  std::string quantize = "none";
  int threads = 0;
  std::vector<int> prefill = {512, 2048};
  std::vector<int> decode = {1, 4, 8, 16};
  int prompt_tokens = 32;  // of the sequences that are decoded
  int output_tokens = 64;  // of each
  int step_tokens_max = 512;
  int repeats = 3;  // best of them
  bool roofline = false;
};

class EngineBench {
 public:
  explicit EngineBench(const Options& options) : options_(options), recorder_(Clock::Real()) {
    auto device = model::OpenDevice({.kind = model::DeviceKind::kCpu, .threads = options.threads});
    CHECK_OK(device.status());
    backend_ = std::move(device->backend);
    model::LoadOptions load;
    load.model_dir = options.model;
    load.dtype = *model::ParseWeightDType(options.dtype);
    load.quantize = *model::ParseQuantize(options.quantize);
    load.format = *model::ParseLoadFormat(options.load_format);
    load.step_tokens_max = options.step_tokens_max;
    auto runner = model::LoadModel(load, *backend_);
    CHECK_OK(runner.status());
    runner_ = std::move(*runner);
    BindKv();
    engine::EngineOptions engine;
    engine.num_blocks = kv_.num_blocks;
    engine.batch_sequences_max = std::max(64, Largest(options.decode));
    engine.step_tokens_max = options.step_tokens_max;
    engine.prefix_cache = false;  // every prompt is computed
    auto started = engine::Engine::Start(engine, *runner_, recorder_, Clock::Real());
    CHECK_OK(started.status());
    engine_ = std::move(*started);
  }

  void Run() {
    if (options_.roofline) PrintRoofline();
    Measure([&] { return Prefill(64); });  // caches and threads are warm from here on
    for (const int tokens : options_.prefill) {
      Print("prefill", tokens, Measure([&] { return Prefill(tokens); }));
    }
    for (const int batch : options_.decode) {
      Print("decode", batch, Measure([&] { return Decode(batch); }));
    }
  }

 private:
  static int Largest(const std::vector<int>& values) {
    return values.empty() ? 1 : *std::max_element(values.begin(), values.end());
  }

  void BindKv() {
    const int block_tokens = engine::EngineOptions().block_tokens;
    const int decode = Largest(options_.decode) * (options_.prompt_tokens + options_.output_tokens);
    const int tokens = std::max(decode, Largest(options_.prefill) + 1);
    kv_ = runner_->KvGeometry(tokens / block_tokens + Largest(options_.decode) + 2, block_tokens);
    memory_ = backend_->Allocate(kv_.pool_bytes());
    kv_.base = memory_->data();
    runner_->BindKv(kv_);
  }

  template <typename Rate>
  double Measure(Rate rate) {
    double best = 0;
    for (int i = 0; i < options_.repeats; ++i) best = std::max(best, rate());
    return best;
  }

  void Submit(int prompt_tokens, int output_tokens) {
    SequenceSpec spec;
    spec.id = {RequestId("r" + std::to_string(++requests_)), 0};
    std::uniform_int_distribution<int32_t> token(0, runner_->info().vocab - 1);
    for (int i = 0; i < prompt_tokens; ++i) spec.prompt.push_back(token(random_));
    spec.sampling.temperature = 0;
    spec.sampling.seed = 1;
    spec.sampling.max_tokens = output_tokens;
    spec.sampling.ignore_eos = true;
    CHECK_OK(engine_->Post(engine::Submit{.spec = std::move(spec)}));
  }

  double Prefill(int tokens) {
    const absl::Duration start = Clock::Real().Monotonic();
    Submit(tokens, 1);
    const auto steps = recorder_.TakeWhenEnded(1);
    return tokens / absl::ToDoubleSeconds(steps.back().at - start);
  }

  double Decode(int batch) {
    for (int i = 0; i < batch; ++i) Submit(options_.prompt_tokens, options_.output_tokens);
    const auto steps = recorder_.TakeWhenEnded(batch);
    std::vector<double> gaps;
    for (size_t i = 1; i < steps.size(); ++i) {
      if (steps[i].sequences != batch || steps[i - 1].sequences != batch) continue;
      gaps.push_back(absl::ToDoubleSeconds(steps[i].at - steps[i - 1].at));
    }
    CHECK(!gaps.empty(), "no two steps in a row had all {} sequences", batch);
    std::nth_element(gaps.begin(), gaps.begin() + gaps.size() / 2, gaps.end());
    return batch / gaps[gaps.size() / 2];
  }

  void Print(const char* what, int size, double tokens_per_second) const {
    const nlohmann::json line = {
        {"what", what}, {"size", size}, {"tokens_per_second", tokens_per_second}};
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
  }

  void PrintRoofline() const {
    const Roofline roofline = MeasureRoofline(options_.threads);
    const nlohmann::json line = {{"what", "roofline"},
                                 {"parameters", runner_->info().num_parameters},
                                 {"read_bytes", roofline.read_bytes},
                                 {"bf16_flops", roofline.bf16_flops}};
    std::printf("%s\n", line.dump().c_str());
  }

  const Options options_;
  StepRecorder recorder_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<kernels::Buffer> memory_;
  kernels::KvView kv_;
  std::unique_ptr<engine::Engine> engine_;
  std::minstd_rand random_;
  int requests_ = 0;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures one engine on one model, without a cluster; a line of JSON per figure.");
  app.add_option("--model", options.model, "Hugging Face folder")->required();
  app.add_option("--load-format", options.load_format, "safetensors, or random weights")
      ->check(CLI::IsMember({"safetensors", "random"}))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "of the weights: auto, f32, bf16")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--quantize", options.quantize,
                 "weights, as they are loaded: none, int8, int4-g32 ...")
      ->check(CLI::IsMember({"none", "int8", "int4-g32", "int4-g64", "int4-g128"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: one per core")->capture_default_str();
  app.add_option("--prefill", options.prefill, "prompt lengths")->delimiter(',');
  app.add_option("--decode", options.decode, "batch sizes")->delimiter(',');
  app.add_option("--output-tokens", options.output_tokens, "of each decoded sequence")
      ->capture_default_str();
  app.add_option("--step-tokens-max", options.step_tokens_max, "token budget of a step")
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "of each figure; the best counts")
      ->capture_default_str();
  app.add_flag("--roofline", options.roofline, "also what the machine can do; needs --threads");
  CLI11_PARSE(app, argc, argv);
  EngineBench(options).Run();
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::Main(argc, argv); }
