#pragma once

namespace baton::cli {

// baton bench: a load generator that reports latency, throughput and goodput.
int BenchCommand(int argc, const char* const* argv);

}  // namespace baton::cli
