#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/config/address.h"
#include "common/config/log_options.h"
#include "common/config/option_set.h"
#include "common/config/tls_options.h"

namespace baton::config {

// Section `planner`: how many workers there should be.
struct PlannerOptions {
  std::vector<Address> routers = {{"127.0.0.1", 8000}};  // HTTP; a name may stand for several
  std::string model;                                     // of the routers'; empty: all
  Address grpc{"127.0.0.1", 9600};                       // KEDA asks here
  Address http{"127.0.0.1", 9601};                       // /metrics, /plan
  TlsOptions tls;                                        // of gRPC

  // How it passes the routers' HTTP door.
  std::string api_key_file;   // one key; read again for every look; empty: none
  std::string http_tls_ca;    // PEM file; empty: the door is plain
  std::string http_tls_name;  // what the routers' certificate is for; empty: the name in `routers`

  absl::Duration ttft_target = absl::Seconds(1);
  absl::Duration itl_target = absl::Milliseconds(50);
  absl::Duration catch_up = absl::Seconds(10);  // what waits is to be gone after so long

  // Workers of each pool, and GPUs of one worker of it.
  int32_t prefill_min = 1, prefill_max = 4, prefill_gpus = 1;
  int32_t decode_min = 1, decode_max = 4, decode_gpus = 1;
  int32_t budget_gpus = 0;  // of both pools; 0: none but the maximums

  absl::Duration interval = absl::Seconds(5);  // from one plan to the next
  absl::Duration recent = absl::Seconds(10);   // traffic of so long makes a pool larger
  absl::Duration steady = absl::Minutes(1);    // and with this one, smaller
  int32_t margin_percent = 15;                 // a pool shrinks to what serves so much more
  absl::Duration cool_down_up = absl::Seconds(5);
  absl::Duration cool_down = absl::Minutes(5);    // before a pool shrinks
  absl::Duration stale_after = absl::Minutes(1);  // no router answered for so long: no answers
  bool dry_run = false;                           // publishes, and tells KEDA to leave all as it is
  std::string ports_file;
  LogOptions log;

  void AddTo(OptionSet& set);
  // What no single option can see: INVALID_ARGUMENT names it.
  absl::Status Validate() const;
};

}  // namespace baton::config
