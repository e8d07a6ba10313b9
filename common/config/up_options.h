#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/config/option_set.h"
#include "common/config/worker_options.h"

namespace baton::config {

// Section `up`: a whole cluster on this machine under one supervisor.
struct UpOptions {
  int32_t prefill = 1;  // processes
  int32_t decode = 1;
  Device device;                   // of every worker
  int32_t threads_per_worker = 0;  // 0: cores / workers, at least one
  absl::Duration ready_timeout = absl::Minutes(10);
  absl::Duration drain_timeout = absl::Seconds(30);            // then SIGKILL
  absl::Duration restart_delay_min = absl::Milliseconds(200);  // doubles with every death in a row
  absl::Duration restart_delay_max = absl::Seconds(10);
  absl::Duration status_interval =
      absl::Seconds(10);    // between status lines when not on a terminal
  std::string runtime_dir;  // empty: a private one, removed at the end
  std::string demo;         // asked once ready; empty: nothing
  bool exit_after_demo = false;

  void AddTo(OptionSet& set);
};

}  // namespace baton::config
