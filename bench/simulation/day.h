#pragma once

#include <string_view>
#include <vector>

#include "bench/simulation/trace.h"

namespace baton::simulation {

// Load that changes over `length`, made up from a seed; `peak` requests a second at most. In order
// of time.
//   diurnal    chats; a day's rise and fall, once, between a tenth of the peak and the peak
//   bursty     chats at a fifth of the peak; now and then a minute at the peak, begun at once
//   shifting   questions about documents, then short prompts with long answers, then documents
//   again
// CHECKs the name.
std::vector<TraceRequest> MakeDay(std::string_view name, double peak, absl::Duration length,
                                  uint64_t seed);

}  // namespace baton::simulation
