#include "bench/kernels/roofline.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::bench {
namespace {

using kernels::CpuMemory;
using kernels::ThreadPool;

constexpr size_t kReadBytes = size_t{512} << 20;
constexpr size_t kReadPiece = size_t{1} << 20;
constexpr int64_t kRounds = 20000;

__attribute__((target("avx512f"))) void ReadAvx512(const std::byte* data, size_t bytes) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (size_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 4; ++j) _mm_prefetch(data + i + 4096 + 64 * j, _MM_HINT_T0);
    a = _mm512_or_si512(a, _mm512_load_si512(data + i));
    b = _mm512_or_si512(b, _mm512_load_si512(data + i + 64));
    c = _mm512_or_si512(c, _mm512_load_si512(data + i + 128));
    d = _mm512_or_si512(d, _mm512_load_si512(data + i + 192));
  }
  a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
  asm volatile("" : : "v"(a));
}

__attribute__((target("avx2"))) void ReadAvx2(const std::byte* data, size_t bytes) {
  __m256i a = _mm256_setzero_si256(), b = a;
  for (size_t i = 0; i < bytes; i += 64) {
    _mm_prefetch(data + i + 4096, _MM_HINT_T0);
    a = _mm256_or_si256(a, _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i)));
    b = _mm256_or_si256(b, _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32)));
  }
  a = _mm256_or_si256(a, b);
  asm volatile("" : : "x"(a));
}

#define BATON_X4(F) F F F F
#define BATON_STEPS(OP, REG)                                                                       \
  OP " %%" REG "30, %%" REG "31, %%" REG "0\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "1\n\t" OP \
     " %%" REG "30, %%" REG "31, %%" REG "2\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "3\n\t" OP \
     " %%" REG "30, %%" REG "31, %%" REG "4\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "5\n\t" OP \
     " %%" REG "30, %%" REG "31, %%" REG "6\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "7\n\t" OP \
     " %%" REG "30, %%" REG "31, %%" REG "8\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "9\n\t" OP \
     " %%" REG "30, %%" REG "31, %%" REG "10\n\t" OP " %%" REG "30, %%" REG "31, %%" REG "11\n\t"

// 48 multiply-adds a round, 12 chains, nothing but registers.
#define BATON_PEAK(NAME, OP)                                                                     \
  __attribute__((target("avx512f"))) void NAME() {                                               \
    int64_t n = kRounds;                                                                         \
    asm volatile("1:\n\t" BATON_X4(BATON_STEPS(OP, "zmm")) "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"  \
                 : "+r"(n)                                                                       \
                 :                                                                               \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                   "xmm9", "xmm10", "xmm11", "xmm30", "xmm31");                                  \
  }
BATON_PEAK(PeakBf16, "vdpbf16ps")
BATON_PEAK(PeakF32, "vfmadd231ps")

__attribute__((target("avx2,fma"))) void PeakF32Avx2() {
  int64_t n = kRounds;
  asm volatile("1:\n\t" BATON_X4(
#define BATON_YMM(A) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" A "\n\t"
                   BATON_YMM("0") BATON_YMM("1") BATON_YMM("2") BATON_YMM("3") BATON_YMM("4")
                       BATON_YMM("5") BATON_YMM("6") BATON_YMM("7") BATON_YMM("8") BATON_YMM("9")
                           BATON_YMM("10") BATON_YMM("11")) "dec %0\n\tjnz 1b\n\tvzeroupper\n\t"
               : "+r"(n)
               :
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                 "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");
}

double ReadRate(ThreadPool& pool, const CpuMemory& memory) {
  const auto read = __builtin_cpu_supports("avx512f") ? ReadAvx512 : ReadAvx2;
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(int64_t(kReadBytes / kReadPiece), [&](int64_t i, int) {
      read(memory.data() + size_t(i) * kReadPiece, kReadPiece);
    });
  });
  return double(kReadBytes) / seconds;
}

double FlopRate(ThreadPool& pool, void (*peak)(), double flops_per_instruction) {
  constexpr int kTasks = 64;
  const double seconds =
      BestSeconds([&] { pool.ParallelFor(kTasks, [&](int64_t, int) { peak(); }); }, 0.3);
  return kTasks * double(kRounds) * 48 * flops_per_instruction / seconds;
}

double CopyRate() {
  constexpr size_t kBytes = size_t{128} << 20;
  CpuMemory from(kBytes), to(kBytes);
  std::memset(from.data(), 1, kBytes);
  const double seconds = BestSeconds([&] { std::memcpy(to.data(), from.data(), kBytes); });
  return double(kBytes) / seconds;
}

bool use_cpu_time = false;

double Now() {
  timespec time;
  clock_gettime(use_cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

}  // namespace

void UseCpuTime() { use_cpu_time = true; }

double BestSeconds(const std::function<void()>& run, double at_least_seconds) {
  run();
  double best = 1e30, total = 0;
  for (int i = 0; i < 5 || total < at_least_seconds; ++i) {
    const double start = Now();
    run();
    const double seconds = Now() - start;
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

Roofline MeasureRoofline(int num_threads) {
  ThreadPool one(1), all(num_threads);
  Roofline roofline;
  {
    CpuMemory memory(kReadBytes + kReadPiece);
    std::memset(memory.data(), 1, memory.size());
    roofline.read_bytes_1 = ReadRate(one, memory);
    roofline.read_bytes = ReadRate(all, memory);
  }
  roofline.memcpy_bytes = CopyRate();
  if (__builtin_cpu_supports("avx512bf16")) {
    roofline.bf16_flops_1 = FlopRate(one, PeakBf16, 64);
    roofline.bf16_flops = FlopRate(all, PeakBf16, 64);
  }
  const bool wide = __builtin_cpu_supports("avx512f");
  roofline.f32_flops_1 = FlopRate(one, wide ? PeakF32 : PeakF32Avx2, wide ? 32 : 16);
  roofline.f32_flops = FlopRate(all, wide ? PeakF32 : PeakF32Avx2, wide ? 32 : 16);
  return roofline;
}

}  // namespace baton::bench
