#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/config/option_set.h"

namespace baton::config {

// Which of a tenant's requests of one priority goes first.
enum class QueueOrder : uint8_t { kFifo, kDeadline, kShortest };

// Part of section `router`: what waits in the router, and who shares the cluster.
struct QueueOptions {
  // Sequences that a decode worker is given beyond its batch, in percent of the batch, so that it
  // never runs dry. What is beyond waits in the router.
  int32_t batch_ahead_percent = 25;
  QueueOrder order = QueueOrder::kFifo;
  // By deadline or length, a request goes first once it has waited so long.
  absl::Duration aging = absl::Seconds(10);
  int32_t requests_max = 1024;
  int64_t tokens_max = 1 << 22;                   // of prompts
  absl::Duration wait_max = absl::Minutes(1);     // 0: as long as the request's time
  absl::Duration worker_wait = absl::Seconds(5);  // while no decode worker can take it
  bool without_workers = false;                   // as long as it takes, instead
  absl::Duration retry_after_max = absl::Minutes(1);

  // Tenants by name. Who names none of them is "default".
  std::string tenant_header = "x-baton-tenant";        // gRPC: metadata of this name
  std::map<std::string, double> tenants;               // name: weight
  std::map<std::string, int64_t> tenant_requests_max;  // name: that may wait
  std::map<std::string, int64_t> tenant_tokens_max;    // name: of prompts that may wait

  void AddTo(OptionSet& set);
  // INVALID_ARGUMENT names the option.
  absl::Status Validate() const;
};

// The tenant of those who name none that is known.
inline constexpr char kDefaultTenant[] = "default";

}  // namespace baton::config
