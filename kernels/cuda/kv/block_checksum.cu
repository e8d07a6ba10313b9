#include "kernels/cuda/kv/block_checksum.h"

#include <cstring>

#include "kernels/checksum.h"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/sync.cuh"

// XXH3 walks a piece kilobyte by kilobyte with eight 64-bit accumulators. Inside a kilobyte it only
// adds, in whatever order; between kilobytes it scrambles. So all threads of a block add up many
// kilobytes at once, and then eight threads go through the sums one after another:
//
//   [1 KiB][1 KiB] ... [1 KiB]  rest     four threads each, two accumulators per thread
//      |      |           |       |
//     sums -> sums -> ... sums -> rest -> checksum      eight threads, one accumulator each
namespace baton::kernels::cuda {
namespace {

constexpr uint32_t kAccumulators = 8;
constexpr uint32_t kStripeBytes = 64;
constexpr uint32_t kStripes = 16;  // per kilobyte
constexpr uint32_t kKilobyte = kStripes * kStripeBytes;
constexpr uint64_t kPrime32_1 = 0x9E3779B1u, kPrime32_2 = 0x85EBCA77u, kPrime32_3 = 0xC2B2AE3Du;
constexpr uint64_t kPrime64_1 = 0x9E3779B185EBCA87u, kPrime64_2 = 0xC2B2AE3D27D4EB4Fu,
                   kPrime64_3 = 0x165667B19E3779F9u, kPrime64_4 = 0x85EBCA77C2B2AE63u,
                   kPrime64_5 = 0x27D4EB2F165667C5u;

// The secret's words at the offsets where they are used.
struct Secret {
  uint64_t stripes[24];  // from 0: stripe s takes eight from s on
  uint64_t last[8];      // from 121
  uint64_t merge[8];     // from 11
};

struct ChecksumKernelArgs {
  BlockChecksumArgs call;
  Secret secret;
};

BATON_DEVICE uint64_t Word(const Vec16& v, uint32_t half) {
  return v.words[2 * half] | uint64_t{v.words[2 * half + 1]} << 32;
}

BATON_DEVICE uint64_t ProductOfHalves(uint64_t keyed) {
  return uint64_t{uint32_t(keyed)} * (keyed >> 32);
}

// What accumulators 2 pair and 2 pair + 1 gain from one kilobyte.
BATON_DEVICE void SumKilobyte(const Global<const std::byte>& kilobyte, const Secret& secret,
                              uint32_t pair, uint64_t (&sums)[2]) {
  sums[0] = sums[1] = 0;
  BATON_UNROLL
  for (uint32_t stripe = 0; stripe < kStripes; ++stripe) {
    const Vec16 bytes = kilobyte.Load16(stripe * kStripeBytes + pair * sizeof(Vec16));
    BATON_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const uint64_t data = Word(bytes, half);
      sums[half] += ProductOfHalves(data ^ secret.stripes[stripe + 2 * pair + half]);
      sums[1 - half] += data;
    }
  }
}

// By comparisons: an array that is indexed at run time would lie in local memory.
BATON_DEVICE uint64_t InitialAccumulator(uint32_t i) {
  const uint64_t low = i == 0 ? kPrime32_3 : i == 1 ? kPrime64_1 : i == 2 ? kPrime64_2 : kPrime64_3;
  const uint64_t high = i == 4   ? kPrime64_4
                        : i == 5 ? kPrime32_2
                        : i == 6 ? kPrime64_5
                                 : kPrime32_1;
  return i < 4 ? low : high;
}

BATON_DEVICE uint64_t Scramble(uint64_t accumulator, uint64_t key) {
  return ((accumulator ^ (accumulator >> 47)) ^ key) * kPrime32_1;
}

// One stripe's part in accumulator i.
BATON_DEVICE uint64_t SumStripe(const Global<const std::byte>& stripe, uint32_t i, uint64_t key) {
  const Vec16 bytes = stripe.Load16(i / 2 * sizeof(Vec16));
  const uint64_t even = Word(bytes, 0), odd = Word(bytes, 1);
  const uint64_t own = i % 2 == 0 ? even : odd;
  return ProductOfHalves(own ^ key) + (i % 2 == 0 ? odd : even);
}

BATON_DEVICE uint64_t Fold(uint64_t a, uint64_t b) { return (a * b) ^ HighProduct(a, b); }

BATON_DEVICE uint64_t Merge(const Shared<uint64_t>& accumulators, const Secret& secret,
                            uint64_t bytes) {
  uint64_t sum = bytes * kPrime64_1;
  BATON_UNROLL
  for (uint32_t i = 0; i < kAccumulators; i += 2) {
    const uint64_t a = accumulators[i], b = accumulators[i + 1];
    sum += Fold(a ^ secret.merge[i], b ^ secret.merge[i + 1]);
  }
  sum = (sum ^ (sum >> 37)) * 0x165667919E3779F9u;
  return sum ^ (sum >> 32);
}

BATON_KERNEL(kChecksumThreads)
void BlockChecksumKernel(ChecksumKernelArgs args) {
  const Global<const uint64_t> offsets(args.call.offsets);
  const Global<const std::byte> piece =
      Global<const std::byte>(args.call.base) + uint64_t(offsets[BlockX()]);
  const size_t bytes = args.call.piece_bytes;
  const uint32_t kilobytes = uint32_t((bytes - 1) / kKilobyte);  // the rest is never empty
  SharedArena arena;
  const Shared<uint64_t> sums = arena.Take<uint64_t>(kChecksumKilobytes * kAccumulators);
  const uint32_t i = ThreadIndex();  // the accumulator, for the first eight threads
  uint64_t accumulator = i < kAccumulators ? InitialAccumulator(i) : 0;

  for (uint32_t first = 0; first < kilobytes; first += kChecksumKilobytes) {
    const uint32_t mine = first + i / 4, pair = i % 4;
    if (mine < kilobytes) {
      uint64_t gained[2];
      SumKilobyte(piece + size_t{mine} * kKilobyte, args.secret, pair, gained);
      sums[i / 4 * kAccumulators + 2 * pair] = gained[0];
      sums[i / 4 * kAccumulators + 2 * pair + 1] = gained[1];
    }
    SyncBlock();  // the sums are there
    if (i < kAccumulators) {
      const uint32_t count =
          kilobytes - first < kChecksumKilobytes ? kilobytes - first : kChecksumKilobytes;
      for (uint32_t k = 0; k < count; ++k) {
        accumulator =
            Scramble(accumulator + sums[k * kAccumulators + i], args.secret.stripes[16 + i]);
      }
    }
    SyncBlock();  // and may be written again
  }
  if (i < kAccumulators) {
    const size_t rest = size_t{kilobytes} * kKilobyte;
    const uint32_t stripes = uint32_t((bytes - 1 - rest) / kStripeBytes);
    for (uint32_t s = 0; s < stripes; ++s) {
      accumulator +=
          SumStripe(piece + rest + size_t{s} * kStripeBytes, i, args.secret.stripes[s + i]);
    }
    accumulator += SumStripe(piece + (bytes - kStripeBytes), i, args.secret.last[i]);
    sums[i] = accumulator;
  }
  SyncBlock();
  if (i == 0) Global<uint64_t>(args.call.sums)[BlockX()] = Merge(sums, args.secret, bytes);
}

Secret SecretOfHost() {
  Secret secret;
  const std::byte* bytes = ChecksumSecret();
  std::memcpy(secret.stripes, bytes, sizeof secret.stripes);
  std::memcpy(secret.last, bytes + 121, sizeof secret.last);
  std::memcpy(secret.merge, bytes + 11, sizeof secret.merge);
  return secret;
}

}  // namespace

Error Launch(const BlockChecksumArgs& args, const LaunchShape& shape, Stream stream) {
  const ChecksumKernelArgs kernel_args = {args, SecretOfHost()};
  return LaunchKernel("kv_block_checksum", BlockChecksumKernel, shape, stream, kernel_args);
}

}  // namespace baton::kernels::cuda
