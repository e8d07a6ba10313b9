#pragma once

#include <deque>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "services/planner/watch/router_page.h"

namespace baton::planner {

// From what routers say time after time to one picture: rates from the differences of counters,
// each worker once, and what was known of workers when there are none. One thread.
class LoadMeter {
 public:
  struct Options {
    absl::Duration recent = absl::Seconds(10);
    absl::Duration steady = absl::Minutes(1);
  };
  explicit LoadMeter(const Options& options) : options_(options) {}

  // By router, all that answered. `partial`: others did not. `now` never goes back. A router that
  // is new here counts from now on; one that began again, from its beginning.
  Picture Look(const std::map<std::string, RouterSample>& routers, bool partial,
               absl::Duration now);

 private:
  // What has grown since the last look.
  struct Growth {
    absl::Duration from, until;
    double requests = 0, arrived_tokens = 0;
    double completed = 0, completed_tokens = 0, found_tokens = 0, output_tokens = 0;
    double without_worker = 0;
    double itl_seconds = 0, itl_tokens = 0;
    double prefill_computed = 0, prefill_found = 0;
    void Add(const Growth& other);
  };
  Growth GrowthOf(const std::map<std::string, RouterSample>& routers);
  Growth Over(absl::Duration window, absl::Duration now) const;
  Traffic TrafficOver(absl::Duration window, absl::Duration now);
  void Remember(const PoolState& now, PoolState& known) const;
  void NotePace(const Picture& picture, const Growth& growth);

  const Options options_;
  std::map<std::string, RouterSample> last_;
  std::map<std::string, WorkerSample> last_workers_;
  std::deque<Growth> growths_;
  absl::Duration last_look_ = -absl::InfiniteDuration();
  Traffic known_;  // the lengths of the last requests there were
  PoolState known_prefill_, known_decode_;
  double pace_ = 1;
};

}  // namespace baton::planner
