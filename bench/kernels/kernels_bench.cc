// Floor, measured and ratio of the CPU kernels at the shapes of a 0.5B model (Qwen2: hidden 896, 14
// query and 2 KV heads of 64, intermediate 4864, vocabulary 151936).
//
//   kernels_bench [--isa NAME] [--threads N] [--dtype f32|bf16|int8] [--cpu-time] [--tokens T]
//                [gemm] [attention] [layer] [small]
//
// A floor is the larger of bytes / read bandwidth and flops / peak, both measured in the same run;
// of int8, for products alone (gemm), it is the bytes'.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/kernels/roofline.h"
#include "kernels/activation_row.h"
#include "kernels/backend.h"
#include "kernels/checksum.h"
#include "kernels/convert.h"

namespace baton::bench {
namespace {

using namespace baton::kernels;  // NOLINT: a program, not a header

constexpr int32_t kHidden = 896, kQHeads = 14, kKvHeads = 2, kDim = 64, kInner = 4864;
constexpr int64_t kVocab = 151936;
constexpr size_t kColdBytes = size_t{192} << 20;  // beyond any cache

struct Options {
  std::string isa = "auto";
  int threads = int(std::thread::hardware_concurrency());
  DType dtype = DType::kBF16;
  int32_t tokens = 0;  // 0: all
  std::vector<std::string> sections;
};

class Bench {
 public:
  explicit Bench(const Options& options);
  void Gemms();
  void Attentions();
  void Layer();
  void Small();

 private:
  std::unique_ptr<Matrix> MakeMatrix(int64_t n, int64_t k);
  std::unique_ptr<Buffer> MakeActivations(size_t count, DType dtype);
  void GemmRow(const char* name, int64_t n, int64_t k);
  void AttentionRow(const char* name, int32_t sequences, int32_t queries, int32_t context);
  bool Skips(int32_t tokens) const { return options_.tokens != 0 && options_.tokens != tokens; }
  double Floor(double bytes, double flops) const {
    return std::max(bytes / roofline_.read_bytes, flops / peak_);
  }
  static void Print(const std::string& name, double floor, double measured, double bytes,
                    double flops);

  Options options_;
  std::unique_ptr<Backend> backend_;
  Roofline roofline_;
  double peak_ = 0;
};

Bench::Bench(const Options& options)
    : options_(options),
      backend_(MakeCpuBackend({.num_threads = options.threads, .isa = options.isa})),
      roofline_(MeasureRoofline(options.threads)) {
  if (backend_ == nullptr) {
    std::fprintf(stderr, "--isa %s: this machine lacks it\n", options.isa.c_str());
    std::exit(1);
  }
  const bool bf16 = backend_->activation_dtype(options.dtype) == DType::kBF16;
  peak_ = options.dtype == DType::kInt8 ? INFINITY
          : bf16                        ? roofline_.bf16_flops
                                        : roofline_.f32_flops;
  std::printf("%s, %d threads, weights %s\n", backend_->name().c_str(), options.threads,
              std::string(NameOf(options.dtype)).c_str());
  std::printf("read     %6.1f GB/s (1 thread %.1f)\n", roofline_.read_bytes / 1e9,
              roofline_.read_bytes_1 / 1e9);
  std::printf("memcpy   %6.1f GB/s copied, 1 thread\n", roofline_.memcpy_bytes / 1e9);
  std::printf("bf16     %6.0f GFLOP/s (1 thread %.0f)\n", roofline_.bf16_flops / 1e9,
              roofline_.bf16_flops_1 / 1e9);
  std::printf("f32      %6.0f GFLOP/s (1 thread %.0f)\n\n", roofline_.f32_flops / 1e9,
              roofline_.f32_flops_1 / 1e9);
}

void Bench::Print(const std::string& name, double floor, double measured, double bytes,
                  double flops) {
  std::printf("%-28s floor %9.1f us   measured %9.1f us   %3.0f %%   %6.1f GB/s %7.1f GFLOP/s\n",
              name.c_str(), floor * 1e6, measured * 1e6, 100 * floor / measured,
              bytes / measured / 1e9, flops / measured / 1e9);
  std::fflush(stdout);
}

std::unique_ptr<Matrix> Bench::MakeMatrix(int64_t n, int64_t k) {
  static std::vector<uint16_t> host;
  if (host.size() < size_t(n * k)) {
    std::minstd_rand random(1);
    host.resize(size_t(n * k));
    for (uint16_t& h : host) h = Bf16FromF32(float(int(random() % 2001) - 1000) * 2e-5f);
  }
  const HostMatrix part = {reinterpret_cast<const std::byte*>(host.data()), DType::kBF16, n, k};
  return backend_->LoadMatrix({{part}}, options_.dtype);
}

std::unique_ptr<Buffer> Bench::MakeActivations(size_t count, DType dtype) {
  auto buffer = backend_->Allocate(count * BytesOf(dtype));
  std::minstd_rand random(2);
  for (size_t i = 0; i < count; ++i) {
    StoreElement(buffer->data(), dtype, int64_t(i), float(int(random() % 2001) - 1000) * 1e-3f);
  }
  return buffer;
}

// Weights are taken in turn from enough copies that none is in a cache, as in a pass over a model.
void Bench::GemmRow(const char* name, int64_t n, int64_t k) {
  std::vector<std::unique_ptr<Matrix>> copies;
  const size_t bytes = size_t(n * k) * BytesOf(options_.dtype);
  for (size_t i = 0; i == 0 || i * bytes < kColdBytes; ++i) copies.push_back(MakeMatrix(n, k));
  const DType in = backend_->activation_dtype(options_.dtype);
  for (int32_t tokens : {1, 4, 8, 16, 64, 512}) {
    if ((tokens == 512 && n == kVocab) || Skips(tokens)) continue;
    auto values = MakeActivations(size_t(tokens) * size_t(k), DType::kF32);
    auto x = backend_->Allocate(size_t(tokens) * ActivationRowBytes(in, k));
    backend_->RmsNorm(values->as<float>(), values->as<float>(), 1e-6f, tokens, int32_t(k), in,
                      x->data());
    auto out = backend_->Allocate(size_t(tokens) * size_t(n) * 4);
    const double seconds =
        BestSeconds([&] {
          for (const auto& w : copies) {
            backend_->Gemm(x->data(), *w, nullptr, tokens, GemmOutput::kStore, out->as<float>());
          }
        }) /
        double(copies.size());
    const double flops = 2.0 * tokens * double(n) * double(k);
    Print(std::string(name) + " T=" + std::to_string(tokens), Floor(double(bytes), flops), seconds,
          double(bytes), flops);
  }
}

void Bench::Gemms() {
  GemmRow("qkv 1152x896", kHidden + 2 * kKvHeads * kDim, kHidden);
  GemmRow("o 896x896", kHidden, kHidden);
  GemmRow("gate_up 9728x896", 2 * kInner, kHidden);
  GemmRow("down 896x4864", kHidden, kInner);
  GemmRow("head 151936x896", kVocab, kHidden);
}

// A cache of several layers, walked in turn, so that K and V come from memory where a model's
// would.
void Bench::AttentionRow(const char* name, int32_t sequences, int32_t queries, int32_t context) {
  constexpr int32_t kBlockTokens = 32;
  const int32_t blocks_each = (context + kBlockTokens - 1) / kBlockTokens;
  KvView kv{.base = nullptr,
            .dtype = options_.dtype,
            .num_layers = 1,
            .num_blocks = blocks_each * sequences,
            .block_tokens = kBlockTokens,
            .num_kv_heads = kKvHeads,
            .head_dim = kDim};
  const double bytes = double(kv.layer_bytes()) * context / (double(blocks_each) * kBlockTokens);
  kv.num_layers = int32_t(std::clamp<double>(kColdBytes / bytes, 1, 64));
  auto pool = MakeActivations(kv.pool_bytes() / BytesOf(kv.dtype), kv.dtype);
  kv.base = pool->data();
  std::vector<int32_t> table(size_t(kv.num_blocks));
  for (size_t i = 0; i < table.size(); ++i) table[i] = int32_t(i);
  std::vector<AttentionSequence> batch;
  for (int32_t s = 0; s < sequences; ++s) {
    batch.push_back({s * queries, queries, context, table.data() + s * blocks_each});
  }
  const size_t rows = size_t(sequences) * size_t(queries);
  auto q = MakeActivations(rows * kQHeads * kDim, DType::kF32);
  auto out = backend_->Allocate(rows * kQHeads * kDim * 4);
  const double seconds =
      BestSeconds([&] {
        for (int32_t layer = 0; layer < kv.num_layers; ++layer) {
          backend_->Attention(q->as<float>(), kv, layer, kQHeads, batch, 0.125f, 0,
                              backend_->activation_dtype(options_.dtype), out->data());
        }
      }) /
      kv.num_layers;
  const double seen = double(context) - (queries - 1) / 2.0;  // mean context of a row
  const double flops = 4.0 * double(rows) * kQHeads * kDim * seen;
  Print(name, Floor(bytes, flops), seconds, bytes, flops);
}

void Bench::Attentions() {
  AttentionRow("decode 1 x 1k", 1, 1, 1024);
  AttentionRow("decode 1 x 16k", 1, 1, 16384);
  AttentionRow("decode 16 x 1k", 16, 1, 1024);
  AttentionRow("prefill 512", 1, 512, 512);
  AttentionRow("prefill 2048", 1, 2048, 2048);
  AttentionRow("prefill 512 at 8k", 1, 512, 8192);
}

// All of one decoder layer, over as many layers as a model of this shape has.
void Bench::Layer() {
  constexpr int32_t kLayers = 24, kContext = 512, kBlockTokens = 32;
  const DType act = backend_->activation_dtype(options_.dtype);
  struct Weights {
    std::unique_ptr<Matrix> qkv, o, gate_up, down;
  };
  std::vector<Weights> layers;
  for (int i = 0; i < kLayers; ++i) {
    layers.push_back({MakeMatrix(kHidden + 2 * kKvHeads * kDim, kHidden),
                      MakeMatrix(kHidden, kHidden), MakeMatrix(2 * kInner, kHidden),
                      MakeMatrix(kHidden, kInner)});
  }
  const auto head = MakeMatrix(kVocab, kHidden);
  auto norm = MakeActivations(kHidden, DType::kF32),
       rope = MakeActivations(1024 * kDim, DType::kF32);
  for (int32_t tokens : {1, 8, 64, 512}) {
    if (Skips(tokens)) continue;
    const int32_t sequences = tokens == 512 ? 1 : tokens, queries = tokens / sequences;
    KvView kv{.base = nullptr,
              .dtype = options_.dtype,
              .num_layers = kLayers,
              .num_blocks = sequences * kContext / kBlockTokens,
              .block_tokens = kBlockTokens,
              .num_kv_heads = kKvHeads,
              .head_dim = kDim};
    auto pool = MakeActivations(kv.pool_bytes() / BytesOf(kv.dtype), kv.dtype);
    kv.base = pool->data();
    std::vector<int32_t> table(size_t(kv.num_blocks)), positions, slots;
    for (size_t i = 0; i < table.size(); ++i) table[i] = int32_t(i);
    std::vector<AttentionSequence> batch;
    for (int32_t s = 0; s < sequences; ++s) {
      batch.push_back({s * queries, queries, kContext, table.data() + s * kContext / kBlockTokens});
      for (int32_t i = 0; i < queries; ++i) {
        positions.push_back(kContext - queries + i);
        slots.push_back(s * kContext + positions.back());
      }
    }
    const size_t t = size_t(tokens);
    auto x = MakeActivations(t * kHidden, DType::kF32);
    auto normed = backend_->Allocate(t * kHidden * 4), q = backend_->Allocate(t * kHidden * 4);
    auto qkv = backend_->Allocate(t * 1152 * 4), inner = backend_->Allocate(t * kInner * 4);
    auto gate_up = backend_->Allocate(t * 2 * kInner * 4),
         logits = backend_->Allocate(64 * kVocab * 4);
    const auto run_layers = [&] {
      for (int32_t i = 0; i < kLayers; ++i) {
        const Weights& w = layers[size_t(i)];
        backend_->RmsNorm(x->as<float>(), norm->as<float>(), 1e-6f, tokens, kHidden, act,
                          normed->data());
        backend_->Gemm(normed->data(), *w.qkv, nullptr, tokens, GemmOutput::kStore,
                       qkv->as<float>());
        backend_->RopeAndWriteKv({.qkv = qkv->as<float>(),
                                  .num_tokens = tokens,
                                  .num_q_heads = kQHeads,
                                  .rope = {rope->as<float>(), rope->as<float>(), 1024},
                                  .positions = positions.data(),
                                  .slots = slots.data()},
                                 kv, i, q->as<float>());
        backend_->Attention(q->as<float>(), kv, i, kQHeads, batch, 0.125f, 0, act, normed->data());
        backend_->Gemm(normed->data(), *w.o, nullptr, tokens, GemmOutput::kAdd, x->as<float>());
        backend_->RmsNorm(x->as<float>(), norm->as<float>(), 1e-6f, tokens, kHidden, act,
                          normed->data());
        backend_->Gemm(normed->data(), *w.gate_up, nullptr, tokens, GemmOutput::kStore,
                       gate_up->as<float>());
        backend_->SiluMul(gate_up->as<float>(), tokens, kInner, act, inner->data());
        backend_->Gemm(inner->data(), *w.down, nullptr, tokens, GemmOutput::kAdd, x->as<float>());
      }
    };
    const double weights =
        kLayers * (1152.0 * kHidden + double(kHidden) * kHidden + 3.0 * kInner * kHidden);
    const double element = double(BytesOf(options_.dtype));
    const double attention =
        4.0 * kLayers * tokens * kQHeads * kDim * (queries == 1 ? kContext : kContext / 2.0);
    double seconds = BestSeconds(run_layers, 1);
    double bytes = weights * element + double(kv.pool_bytes());
    double flops = 2 * weights * tokens + attention;
    Print("24 layers T=" + std::to_string(tokens), Floor(bytes, flops), seconds, bytes, flops);
    const int32_t rows = sequences;
    seconds = BestSeconds(
        [&] {
          run_layers();
          backend_->Gemm(normed->data(), *head, nullptr, rows, GemmOutput::kStore,
                         logits->as<float>());
        },
        1);
    bytes += double(kVocab) * kHidden * element;
    flops += 2.0 * kVocab * kHidden * rows;
    Print("  and head, rows=" + std::to_string(rows), Floor(bytes, flops), seconds, bytes, flops);
  }
}

void Bench::Small() {
  constexpr int32_t kTokens = 512;
  auto x = MakeActivations(size_t{kTokens} * 2 * kInner, DType::kF32);
  auto out = backend_->Allocate(size_t{kTokens} * 2 * kInner * 4);
  const auto print = [&](const char* name, double bytes, double seconds) {
    Print(name, bytes / roofline_.read_bytes, seconds, bytes, 0);
  };
  print("rms_norm 512x896", 6.0 * kTokens * kHidden, BestSeconds([&] {
          backend_->RmsNorm(x->as<float>(), x->as<float>(), 1e-6f, kTokens, kHidden, DType::kBF16,
                            out->data());
        }));
  print("silu_mul 512x4864", 10.0 * kTokens * kInner, BestSeconds([&] {
          backend_->SiluMul(x->as<float>(), kTokens, kInner, DType::kBF16, out->data());
        }));
  uint64_t sum = 0;
  const double bytes = double(x->size());
  print("checksum 19 MB (1 thread)", bytes,
        BestSeconds([&] { sum += Checksum(x->data(), x->size()); }));
  auto logits = MakeActivations(kVocab, DType::kF32);
  SampleArgs greedy{.temperature = 0}, drawn{.temperature = 0.8f, .seed = 7}, nucleus = drawn;
  nucleus.top_k = 50;
  nucleus.top_p = 0.9f;
  for (const auto& [name, args] : {std::pair{"sample greedy", greedy},
                                   {"sample T=0.8", drawn},
                                   {"sample top_k 50 top_p 0.9", nucleus}}) {
    std::vector<SampledToken> token(1);
    print(name, 4.0 * kVocab,
          BestSeconds([&] { backend_->Sample(logits->as<float>(), kVocab, {{args}}, token); }));
  }
  if (sum == 1) std::puts("");
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--isa" && i + 1 < argc) {
      options.isa = argv[++i];
    } else if (arg == "--threads" && i + 1 < argc) {
      options.threads = std::atoi(argv[++i]);
    } else if (arg == "--tokens" && i + 1 < argc) {
      options.tokens = std::atoi(argv[++i]);
    } else if (arg == "--cpu-time") {
      UseCpuTime();
    } else if (arg == "--dtype" && i + 1 < argc) {
      const std::string dtype = argv[++i];
      options.dtype = dtype == "f32" ? DType::kF32 : dtype == "int8" ? DType::kInt8 : DType::kBF16;
    } else {
      options.sections.push_back(arg);
    }
  }
  if (options.sections.empty()) options.sections = {"gemm", "attention", "layer", "small"};
  return options;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  const baton::bench::Options options = baton::bench::Parse(argc, argv);
  baton::bench::Bench bench(options);
  for (const std::string& section : options.sections) {
    if (section == "gemm") bench.Gemms();
    if (section == "attention") bench.Attentions();
    if (section == "layer") bench.Layer();
    if (section == "small") bench.Small();
  }
}
