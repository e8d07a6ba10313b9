#pragma once

#include <cstddef>
#include <functional>

namespace baton::bench {

// What this machine can do at most, measured now. Rates are per second.
struct Roofline {
  double read_bytes_1 = 0;  // one thread, from memory
  double read_bytes = 0;    // all threads
  double bf16_flops_1 = 0;
  double bf16_flops = 0;  // 0: no instruction for it
  double f32_flops_1 = 0;
  double f32_flops = 0;
  double memcpy_bytes = 0;  // one thread, bytes copied
};

Roofline MeasureRoofline(int num_threads);

// From now on BestSeconds counts the calling thread's CPU time: on a busy machine, what one thread
// would take alone. Of no use with several threads.
void UseCpuTime();

// The shortest of many runs: the machine is shared, and the shortest run is the least disturbed
// one.
double BestSeconds(const std::function<void()>& run, double at_least_seconds = 0.4);

}  // namespace baton::bench
