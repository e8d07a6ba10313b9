#pragma once

#include <cstdint>

namespace baton::router {

// What routers that see the same workers decide differently by: which of those that are as good as
// each other. Without it all of them would send what comes at the same moment to the same worker,
// and only see it in its next report. Not thread-safe.
class TieDice {
 public:
  // 0: no dice, of equal ones always the first.
  explicit TieDice(uint64_t seed = 0) : state_(seed), rolls_(seed != 0) {}

  // Evenly in [0, 1); 0 without dice.
  double Roll() { return rolls_ ? static_cast<double>(Next() >> 11) * 0x1p-53 : 0; }
  // For the nth of equal ones, from 1 on: is it taken instead of those before it? Each of them is
  // in the end with the same chance.
  bool TakesNth(uint64_t n) { return rolls_ && Next() % n == 0; }

 private:
  // SplitMix64: a policy rolls once per worker and decision.
  uint64_t Next() {
    uint64_t mixed = (state_ += 0x9e3779b97f4a7c15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  uint64_t state_;
  bool rolls_;
};

}  // namespace baton::router
