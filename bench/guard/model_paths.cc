#include <memory>
#include <numeric>

#include "bench/guard/path.h"
#include "common/base/check.h"
#include "common/model/load_model.h"
#include "kernels/backend.h"
#include "kernels/checksum.h"
#include "kernels/sampling.h"

namespace baton::bench {
namespace {

constexpr int32_t kBlockTokens = 16;
constexpr int32_t kBlocksEach = 8;

// The demo model on one thread with AVX2: what every x86-64 server of the last ten years has, and
// callgrind knows.
class Model {
 public:
  explicit Model(const std::string& model_dir)
      : backend_(kernels::MakeCpuBackend({.num_threads = 1, .isa = "avx2"})) {
    CHECK(backend_ != nullptr, "no AVX2 here");
    auto runner =
        model::LoadModel({.model_dir = model_dir, .dtype = model::WeightDType::kBF16}, *backend_);
    CHECK_OK(runner.status());
    runner_ = *std::move(runner);
    kv_ = runner_->KvGeometry(4 * kBlocksEach, kBlockTokens);
    pool_ = backend_->Allocate(kv_.pool_bytes());
    kv_.base = pool_->data();
    runner_->BindKv(kv_);
    tables_.resize(4 * kBlocksEach);
    std::iota(tables_.begin(), tables_.end(), 0);
  }

  // `sequences` with `tokens` new ones each behind a context that makes 100 with them.
  void Step(int32_t sequences, int32_t tokens) {
    model::StepBatch batch;
    for (int32_t s = 0; s < sequences; ++s) {
      for (int32_t t = 0; t < tokens; ++t) batch.tokens.push_back(5 + s + t);
      batch.sequences.push_back(
          {tokens, 100, std::span(tables_).subspan(size_t(s * kBlocksEach), kBlocksEach)});
      batch.logits_rows.push_back(int32_t(batch.tokens.size()) - 1);
      batch.samples.push_back({.row = s, .temperature = 0});
    }
    CHECK(runner_->Execute(batch).sampled.size() == size_t(sequences), "a step without tokens");
  }

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  kernels::KvView kv_;
  std::unique_ptr<kernels::Buffer> pool_;
  std::vector<int32_t> tables_;
};

std::function<void()> Sampling() {
  auto logits = std::make_shared<std::vector<float>>(32'000);
  return [logits] {
    for (size_t i = 0; i < logits->size(); ++i) (*logits)[i] = float(i * 7919 % 32'000) / 2'000;
    (void)kernels::SampleRow(*logits, {.temperature = 0.7f, .top_k = 40, .top_p = 0.9f, .seed = 1});
  };
}

std::function<void()> Checksumming() {
  return [bytes = std::vector<std::byte>(64 << 10)] {
    static volatile uint64_t kept;
    kept = kernels::Checksum(bytes.data(), bytes.size());
  };
}

}  // namespace

std::vector<GuardedPath> ModelPaths(const std::string& model_dir) {
  const auto stepping = [=](int32_t sequences, int32_t tokens) {
    return [=] {
      return [=, model = std::make_shared<Model>(model_dir)] { model->Step(sequences, tokens); };
    };
  };
  return {
      {"the model decodes one sequence", 2, stepping(1, 1)},
      {"the model decodes four sequences", 2, stepping(4, 1)},
      {"the model reads a prompt of 100 tokens", 1, stepping(1, 100)},
      {"a token is drawn from 32,000 by top-k and top-p", 2, Sampling},
      {"64 KiB are checksummed", 5, Checksumming},
  };
}

}  // namespace baton::bench
