#pragma once

#include <string>
#include <vector>

namespace baton::kernels::emulation {

// What a kernel did that hardware would not have forgiven, or not always. The kernel goes on where
// it can (a bad read gives zero, a bad write is dropped), so one run shows several.
enum class ViolationKind {
  kOutOfBounds,    // beyond an array in shared memory or an allocation in device memory
  kMisaligned,     // a 16-byte access that is not at a multiple of 16
  kUninitialised,  // read before anything was written there
  kRace,           // two threads, one of them writing, with nothing that orders them
  kDivergence,     // a barrier or a warp's collective that some threads never reach
  kResources,      // more shared memory than the launch asked for; copies never waited for
};

struct Violation {
  ViolationKind kind;
  std::string what;  // with kernel, block and thread
};

const char* NameOf(ViolationKind kind);

// Adds to the list, up to some of each kind: a wrong kernel is wrong in every thread.
void Report(ViolationKind kind, std::string what);

// Everything since the last call, and empties the list.
std::vector<Violation> TakeViolations();

// One per line, for a test's message.
std::string Describe(const std::vector<Violation>& violations);

}  // namespace baton::kernels::emulation
