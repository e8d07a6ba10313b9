// Floor, measured and ratio of the CUDA backend at the shapes of Llama 3 8B (hidden 4096, 32 query
// and 8 KV heads of 128, intermediate 14336, vocabulary 128256), bf16.
//
//   cuda_bench [--device N] [--json FILE] [--smoke] [--no-warpgroups] [--no-graphs]
//              [--gemm own|auto|cublaslt] [attention] [gemm] [small] [step]
//
// --no-warpgroups takes the kernels of every GPU where Hopper has its own, --no-graphs enqueues
// launches one by one: run with and without, they say what these are worth. --gemm says who
// multiplies (kernels/cuda/README.md); what it measures itself is kept nowhere.
//
// A floor is the larger of bytes / bandwidth and flops / peak. Both are measured in the same run:
// the bandwidth of a copy on the device, and a large GEMM of this run's. --smoke takes a
// tiny model instead, to see that everything runs; its numbers mean nothing.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/kernels/roofline.h"
#include "kernels/convert.h"
#include "kernels/cuda/backend/cuda_backend.h"

namespace baton::bench {
namespace {

using namespace baton::kernels;  // NOLINT: a program, not a header

struct Shape {
  int32_t hidden = 4096, q_heads = 32, kv_heads = 8, dim = 128, inner = 14336, vocab = 128256;
  int32_t layers = 32, step_context = 1024;
  size_t copy_bytes = size_t{1} << 30;
  size_t cold_bytes = size_t{256} << 20;  // beyond any cache
  std::vector<int32_t> batches = {1, 16, 64, 256}, contexts = {1024, 8192, 32768};
  std::vector<int32_t> prompts = {4096, 8192, 16384}, tokens = {1, 16, 64, 256, 2048};
  int32_t small_tokens = 2048;

  int32_t qkv() const { return (q_heads + 2 * kv_heads) * dim; }
};

const Shape kSmoke = {.hidden = 64,
                      .q_heads = 2,
                      .kv_heads = 1,
                      .dim = 64,
                      .inner = 64,
                      .vocab = 96,
                      .layers = 2,
                      .step_context = 32,
                      .copy_bytes = 4096,
                      .cold_bytes = 1,
                      .batches = {1, 2},
                      .contexts = {40},
                      .prompts = {40},
                      .tokens = {1, 20},
                      .small_tokens = 4};

struct Options {
  int device = 0;
  bool smoke = false;
  bool warpgroups = true;
  bool graphs = true;
  CudaGemm gemm = CudaGemm::kOwn;
  std::string json;
  std::vector<std::string> sections;
};

struct Row {
  std::string name;
  double floor, seconds, bytes, flops;
};

class Bench {
 public:
  Bench(const Options& options, std::unique_ptr<Backend> backend, std::string gpu)
      : shape_(options.smoke ? kSmoke : Shape{}),
        at_least_(options.smoke ? 0 : 0.2),
        backend_(std::move(backend)),
        gpu_(std::move(gpu)) {
    std::minstd_rand random(1);
    noise_.resize(size_t{1} << 22);
    for (uint16_t& h : noise_) h = Bf16FromF32(float(int(random() % 2001) - 1000) * 2e-5f);
    MeasurePeaks();
  }

  void Attention();
  void Gemm();
  void Small();
  void Step();
  bool WriteJson(const std::string& path) const;

 private:
  void MeasurePeaks();
  // Of one call of `run`, when they follow one another.
  template <typename Fn>
  double Seconds(int times, const Fn& run) {
    return BestSeconds(
               [&] {
                 for (int i = 0; i < times; ++i) run(i);
                 backend_->Synchronize();
               },
               at_least_) /
           times;
  }
  void Add(const std::string& name, double seconds, double bytes, double flops);
  std::unique_ptr<Buffer> Noise(size_t bytes);
  std::unique_ptr<Matrix> NoiseMatrix(int64_t n, int64_t k);
  double GemmSeconds(int64_t n, int64_t k, int32_t tokens);
  void AttentionRow(const std::string& name, int32_t sequences, int32_t queries, int32_t context);
  KvView Pool(int32_t layers, int32_t sequences, int32_t context) const;

  const Shape shape_;
  const double at_least_;
  std::unique_ptr<Backend> backend_;
  const std::string gpu_;
  std::vector<uint16_t> noise_;
  double bandwidth_ = 0, peak_ = 0;
  std::vector<Row> rows_;
};

void Bench::Add(const std::string& name, double seconds, double bytes, double flops) {
  const double floor = std::max(bytes / bandwidth_, peak_ > 0 ? flops / peak_ : 0);
  rows_.push_back({name, floor, seconds, bytes, flops});
  std::printf("%-34s floor %10.1f us  measured %10.1f us  %4.0f %%  %7.1f GB/s  %7.1f TFLOP/s\n",
              name.c_str(), floor * 1e6, seconds * 1e6, 100 * floor / seconds,
              bytes / seconds / 1e9, flops / seconds / 1e12);
  std::fflush(stdout);
}

std::unique_ptr<Buffer> Bench::Noise(size_t bytes) {
  auto buffer = backend_->Allocate(bytes);
  const size_t piece = noise_.size() * sizeof(noise_[0]);
  for (size_t at = 0; at < bytes; at += piece) {
    backend_->CopyToDevice(noise_.data(), buffer->data() + at, std::min(piece, bytes - at));
  }
  return buffer;
}

// Rows of the same noise over and over: only their time is of interest.
std::unique_ptr<Matrix> Bench::NoiseMatrix(int64_t n, int64_t k) {
  const int64_t rows_each = std::max<int64_t>(1, int64_t(noise_.size()) / k);
  std::vector<HostMatrix> parts;
  for (int64_t row = 0; row < n; row += rows_each) {
    parts.push_back({reinterpret_cast<const std::byte*>(noise_.data()), DType::kBF16,
                     std::min(rows_each, n - row), k});
  }
  return backend_->LoadMatrix(parts, DType::kBF16);
}

// What later floors are made of.
void Bench::MeasurePeaks() {
  auto from = Noise(shape_.copy_bytes), to = backend_->Allocate(shape_.copy_bytes);
  const size_t row = 4096;
  std::vector<int32_t> rows(shape_.copy_bytes / row);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = int32_t(i);
  const double copy =
      Seconds(4, [&](int) { backend_->GatherRows(from->data(), rows, row, to->data()); });
  bandwidth_ = 2.0 * double(shape_.copy_bytes) / copy;
  Add("copy", copy, 2.0 * double(shape_.copy_bytes), 0);
  const int32_t tokens = shape_.tokens.back();
  const double flops = 2.0 * tokens * shape_.inner * shape_.hidden;
  peak_ = flops / GemmSeconds(shape_.inner, shape_.hidden, tokens);
  std::printf("bandwidth %.1f GB/s, GEMM %.1f TFLOP/s\n", bandwidth_ / 1e9, peak_ / 1e12);
}

double Bench::GemmSeconds(int64_t n, int64_t k, int32_t tokens) {
  std::vector<std::unique_ptr<Matrix>> copies;  // taken in turn: none is in a cache
  for (size_t i = 0; i == 0 || i * size_t(n * k) * 2 < shape_.cold_bytes; ++i) {
    copies.push_back(NoiseMatrix(n, k));
  }
  auto x = Noise(size_t(tokens) * size_t(k) * 2);
  auto out = backend_->Allocate(size_t(tokens) * size_t(n) * 4);
  std::vector<GemmUse> uses;
  for (const auto& copy : copies) {
    uses.push_back({copy.get(), nullptr, GemmOutput::kStore, tokens, x->data(), out->as<float>()});
  }
  backend_->PrepareGemms(uses);
  return Seconds(int(copies.size()), [&](int i) {
    backend_->Gemm(x->data(), *copies[size_t(i)], nullptr, tokens, GemmOutput::kStore,
                   out->as<float>());
  });
}

void Bench::Gemm() {
  const Shape& s = shape_;
  const std::tuple<const char*, int64_t, int64_t> weights[] = {{"qkv", s.qkv(), s.hidden},
                                                               {"o", s.hidden, s.q_heads * s.dim},
                                                               {"gate_up", 2 * s.inner, s.hidden},
                                                               {"down", s.hidden, s.inner},
                                                               {"head", s.vocab, s.hidden}};
  for (const auto& [name, n, k] : weights) {
    for (const int32_t tokens : s.tokens) {
      if (n == s.vocab && tokens > 256) continue;
      const double bytes =
          2.0 * double(n) * double(k) + tokens * (2.0 * double(k) + 4.0 * double(n));
      Add("gemm " + std::string(name) + " T=" + std::to_string(tokens), GemmSeconds(n, k, tokens),
          bytes, 2.0 * tokens * double(n) * double(k));
    }
  }
}

KvView Bench::Pool(int32_t layers, int32_t sequences, int32_t context) const {
  constexpr int32_t kBlockTokens = 16;
  return {.dtype = DType::kBF16,
          .num_layers = layers,
          .num_blocks = sequences * ((context + kBlockTokens - 1) / kBlockTokens),
          .block_tokens = kBlockTokens,
          .num_kv_heads = shape_.kv_heads,
          .head_dim = shape_.dim};
}

void Bench::AttentionRow(const std::string& name, int32_t sequences, int32_t queries,
                         int32_t context) {
  KvView kv = Pool(1, sequences, context);
  kv.num_layers = int32_t(std::clamp<size_t>(shape_.cold_bytes / kv.pool_bytes(), 1, 32));
  if (kv.pool_bytes() > size_t{40} << 30) return;
  auto pool = Noise(kv.pool_bytes());
  kv.base = pool->data();
  std::vector<int32_t> table(size_t(kv.num_blocks));
  for (size_t i = 0; i < table.size(); ++i) table[i] = int32_t(i);
  std::shuffle(table.begin(), table.end(), std::minstd_rand(3));
  std::vector<AttentionSequence> batch;
  for (int32_t s = 0; s < sequences; ++s) {
    batch.push_back(
        {s * queries, queries, context, table.data() + s * (kv.num_blocks / sequences)});
  }
  const size_t elements = size_t(sequences) * size_t(queries) * size_t(shape_.q_heads * shape_.dim);
  auto q = Noise(elements * 4), out = backend_->Allocate(elements * 2);
  const double seconds = Seconds(kv.num_layers, [&](int layer) {
    backend_->Attention(q->as<float>(), kv, layer, shape_.q_heads, batch, 0.088f, 0, DType::kBF16,
                        out->data());
  });
  const double seen = double(context) - (queries - 1) / 2.0;  // mean context of a row
  Add(name, seconds, double(kv.layer_bytes()) + 6.0 * double(elements),
      4.0 * double(elements) * seen);
}

void Bench::Attention() {
  for (const int32_t batch : shape_.batches) {
    for (const int32_t context : shape_.contexts) {
      AttentionRow("decode " + std::to_string(batch) + " x " + std::to_string(context), batch, 1,
                   context);
    }
  }
  for (const int32_t prompt : shape_.prompts) {
    AttentionRow("prefill " + std::to_string(prompt), 1, prompt, prompt);
  }
}

void Bench::Small() {
  const int32_t t = shape_.small_tokens;
  auto x = Noise(size_t(t) * 2 * size_t(shape_.inner) * 4);
  auto out = backend_->Allocate(size_t(t) * size_t(shape_.inner) * 4);
  Add("rms_norm",
      Seconds(20,
              [&](int) {
                backend_->RmsNorm(x->as<float>(), x->as<float>(), 1e-6f, t, shape_.hidden,
                                  DType::kBF16, out->data());
              }),
      6.0 * t * shape_.hidden, 0);
  Add("silu_mul",
      Seconds(20,
              [&](int) {
                backend_->SiluMul(x->as<float>(), t, shape_.inner, DType::kBF16, out->data());
              }),
      10.0 * t * shape_.inner, 0);
  constexpr int32_t kRows = 16;
  auto logits = Noise(size_t{kRows} * size_t(shape_.vocab) * 4);
  SampleArgs nucleus{.temperature = 0.8f, .top_k = 50, .top_p = 0.9f, .seed = 7};
  for (const auto& [name, args] :
       {std::pair{"sample greedy, 16 rows", SampleArgs{.temperature = 0}},
        {"sample top_k top_p, 16 rows", nucleus}}) {
    std::vector<SampleArgs> rows(kRows, args);
    for (int32_t i = 0; i < kRows; ++i) rows[size_t(i)].row = i;
    std::vector<SampledToken> tokens(kRows);
    Add(name,
        Seconds(5, [&](int) { backend_->Sample(logits->as<float>(), shape_.vocab, rows, tokens); }),
        4.0 * kRows * shape_.vocab, 0);
  }
}

// A whole decode step: every layer and the head, each with weights of its own.
void Bench::Step() {
  const Shape& s = shape_;
  struct Layer {
    std::unique_ptr<Matrix> qkv, o, gate_up, down;
  };
  std::vector<Layer> layers;
  for (int32_t i = 0; i < s.layers; ++i) {
    layers.push_back({NoiseMatrix(s.qkv(), s.hidden), NoiseMatrix(s.hidden, s.q_heads * s.dim),
                      NoiseMatrix(2 * s.inner, s.hidden), NoiseMatrix(s.hidden, s.inner)});
  }
  const auto head = NoiseMatrix(s.vocab, s.hidden);
  auto norm = Noise(size_t(s.hidden) * 4), rope = Noise(size_t(s.step_context * s.dim) * 4);
  for (const int32_t batch : s.batches) {
    KvView kv = Pool(s.layers, batch, s.step_context);
    auto pool = Noise(kv.pool_bytes());
    kv.base = pool->data();
    std::vector<int32_t> table(size_t(kv.num_blocks)), slots;
    for (size_t i = 0; i < table.size(); ++i) table[i] = int32_t(i);
    const std::vector<int32_t> positions(size_t(batch), s.step_context - 1);
    const std::vector<int32_t> ids(size_t(batch), 1);
    std::vector<AttentionSequence> sequences;
    std::vector<SampleArgs> samples;
    for (int32_t b = 0; b < batch; ++b) {
      sequences.push_back({b, 1, s.step_context, table.data() + b * (kv.num_blocks / batch)});
      slots.push_back(sequences.back().block_table[(s.step_context - 1) / kv.block_tokens] *
                          kv.block_tokens +
                      (s.step_context - 1) % kv.block_tokens);
      samples.push_back({.row = b, .temperature = 0});
    }
    std::vector<SampledToken> tokens(samples.size());
    const size_t t = size_t(batch);
    auto x = backend_->Allocate(t * size_t(s.hidden) * 4);
    auto act = backend_->Allocate(t * size_t(std::max({s.hidden, s.inner, s.q_heads * s.dim})) * 2);
    auto q = backend_->Allocate(t * size_t(s.q_heads * s.dim) * 4);
    auto qkv = backend_->Allocate(t * size_t(s.qkv()) * 4);
    auto gate_up = backend_->Allocate(t * 2 * size_t(s.inner) * 4);
    auto logits = backend_->Allocate(t * size_t(s.vocab) * 4);
    std::vector<GemmUse> uses;
    const auto announce = [&](const Matrix& w, GemmOutput output, Buffer& out) {
      uses.push_back({&w, nullptr, output, batch, act->data(), out.as<float>()});
    };
    for (const Layer& w : layers) {
      announce(*w.qkv, GemmOutput::kStore, *qkv);
      announce(*w.o, GemmOutput::kAdd, *x);
      announce(*w.gate_up, GemmOutput::kStore, *gate_up);
      announce(*w.down, GemmOutput::kAdd, *x);
    }
    announce(*head, GemmOutput::kStore, *logits);
    backend_->PrepareGemms(uses);
    const auto gemm = [&](const Matrix& w, GemmOutput output, Buffer& out) {
      backend_->Gemm(act->data(), w, nullptr, batch, output, out.as<float>());
    };
    const auto normalise = [&] {
      backend_->RmsNorm(x->as<float>(), norm->as<float>(), 1e-5f, batch, s.hidden, DType::kBF16,
                        act->data());
    };
    const double seconds = Seconds(1, [&](int) {
      backend_->Embed(*head, ids.data(), nullptr, batch, x->as<float>());
      for (int32_t i = 0; i < s.layers; ++i) {
        const Layer& w = layers[size_t(i)];
        normalise();
        gemm(*w.qkv, GemmOutput::kStore, *qkv);
        backend_->RopeAndWriteKv({.qkv = qkv->as<float>(),
                                  .num_tokens = batch,
                                  .num_q_heads = s.q_heads,
                                  .rope = {rope->as<float>(), rope->as<float>(), s.step_context},
                                  .positions = positions.data(),
                                  .slots = slots.data()},
                                 kv, i, q->as<float>());
        backend_->Attention(q->as<float>(), kv, i, s.q_heads, sequences, 0.088f, 0, DType::kBF16,
                            act->data());
        gemm(*w.o, GemmOutput::kAdd, *x);
        normalise();
        gemm(*w.gate_up, GemmOutput::kStore, *gate_up);
        backend_->SiluMul(gate_up->as<float>(), batch, s.inner, DType::kBF16, act->data());
        gemm(*w.down, GemmOutput::kAdd, *x);
      }
      normalise();
      gemm(*head, GemmOutput::kStore, *logits);
      backend_->Sample(logits->as<float>(), s.vocab, samples, tokens);
    });
    const double weights =
        double(s.layers) * (double(s.qkv()) * s.hidden + double(s.hidden) * s.q_heads * s.dim +
                            3.0 * double(s.inner) * s.hidden) +
        double(s.vocab) * s.hidden;
    Add("decode step, batch " + std::to_string(batch), seconds,
        2 * weights + double(kv.pool_bytes()), 2 * weights * batch);
  }
}

bool Bench::WriteJson(const std::string& path) const {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  std::fprintf(
      file, "{\"command\": \"cuda_bench\", \"gpu\": \"%s\", \"backend\": \"%s\",\n \"rows\": [\n",
      gpu_.c_str(), backend_->name().c_str());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    std::fprintf(file,
                 "  {\"name\": \"%s\", \"floor_us\": %.2f, \"measured_us\": %.2f, "
                 "\"gigabytes_per_second\": %.2f, \"teraflops\": %.3f}%s\n",
                 row.name.c_str(), row.floor * 1e6, row.seconds * 1e6,
                 row.bytes / row.seconds / 1e9, row.flops / row.seconds / 1e12,
                 i + 1 < rows_.size() ? "," : "");
  }
  std::fprintf(file, " ]}\n");
  return std::fclose(file) == 0;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--smoke") {
      options.smoke = true;
    } else if (arg == "--no-warpgroups") {
      options.warpgroups = false;
    } else if (arg == "--no-graphs") {
      options.graphs = false;
    } else if (arg == "--gemm" && i + 1 < argc) {
      const std::string by = argv[++i];
      if (by == "auto") {
        options.gemm = CudaGemm::kAuto;
      } else if (by == "cublaslt") {
        options.gemm = CudaGemm::kCublasLt;
      } else if (by != "own") {
        options.sections.push_back("--gemm " + by);  // which is refused
      }
    } else if (arg == "--device" && i + 1 < argc) {
      options.device = std::atoi(argv[++i]);
    } else if (arg == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else {
      options.sections.push_back(arg);
    }
  }
  if (options.sections.empty()) options.sections = {"attention", "gemm", "small", "step"};
  return options;
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const size_t room = options.smoke ? size_t{1} << 20 : size_t{64} << 20;
  std::unique_ptr<Backend> backend;
  cuda::DeviceInfo info;
  CudaOptions wanted = {.device = options.device,
                        .warpgroups = options.warpgroups,
                        .gemm = options.gemm,
                        .staging_bytes = room,
                        .workspace_bytes = room};
  if (!options.graphs) wanted.graphs_max = 0;
  cuda::Error error = cuda::CudaBackend::Create(wanted, &backend);
  if (!error) error = cuda::Describe(options.device, &info);
  if (error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error->c_str());
    return 77;
  }
  std::printf("%s, %d multiprocessors, %s, GEMMs: %s\n", info.name.c_str(),
              info.traits.multiprocessors, backend->name().c_str(), backend->facts().gemm.c_str());
  Bench bench(options, std::move(backend), info.name);
  for (const std::string& section : options.sections) {
    if (section == "attention") {
      bench.Attention();
    } else if (section == "gemm") {
      bench.Gemm();
    } else if (section == "small") {
      bench.Small();
    } else if (section == "step") {
      bench.Step();
    } else {
      std::fprintf(stderr, "unknown section %s\n", section.c_str());
      return 2;
    }
  }
  if (options.json.empty() || bench.WriteJson(options.json)) return 0;
  std::fprintf(stderr, "%s cannot be written\n", options.json.c_str());
  return 1;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::Main(argc, argv); }
