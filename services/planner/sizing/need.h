#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "services/planner/sizing/picture.h"

namespace baton::planner {

// What the cluster promises.
struct Targets {
  absl::Duration ttft = absl::Seconds(1);
  absl::Duration itl = absl::Milliseconds(50);
  // What waits now is to be computed, or to have had its place, after so long.
  absl::Duration catch_up = absl::Seconds(10);
  // Nobody computes prompts but decode workers.
  bool prompts_on_decode = false;
};

// What decided how many a pool needs.
enum class Cause : uint8_t {
  kNothing,  // nobody asks for anything
  kWake,     // somebody asks, and how fast workers are is not known
  kArrivals,
  kQueue,
  kItl,
  kKv,
};
std::string_view NameOf(Cause cause);

struct Need {
  int32_t workers = 0;
  Cause cause = Cause::kNothing;
  std::string why;  // with figures, for people
};

// Workers that serve `traffic` and what waits now within the targets, by the workers' own step
// model. `margin`: for so many times the traffic. Pure; never falls when requests, their lengths,
// what waits or `margin` grow. At least 1 as soon as anybody asks, at most kWorkersMax.
//
// Prefill is a queue of prompts with as many servers as workers: the least number with which a
// prompt's computation and, for nineteen in twenty, the wait before it stay within the TTFT target,
// and the prompts that wait now are computed within `catch_up`.
Need PrefillNeed(const Picture& picture, const Traffic& traffic, const Targets& targets,
                 double margin = 1);
// Decode is places: the largest batch whose step stays within the ITL target and whose KV fits, and
// as many workers as hold those in flight with two standard deviations to spare, those that run
// now, those that wait within `catch_up`, and their KV.
Need DecodeNeed(const Picture& picture, const Traffic& traffic, const Targets& targets,
                double margin = 1);

inline constexpr int32_t kWorkersMax = 4096;

}  // namespace baton::planner
