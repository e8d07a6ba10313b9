#include "common/config/queue_options.h"

#include <algorithm>
#include <vector>

#include "common/config/suggestion.h"

namespace baton::config {
namespace {

constexpr size_t kTenantsMax = 256;
constexpr size_t kNameBytesMax = 64;
constexpr double kWeightMin = 1e-3;
constexpr double kWeightMax = 1e6;

bool IsWordLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

bool IsWord(std::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), IsWordLetter);
}

absl::Status CheckTenants(const std::map<std::string, double>& tenants) {
  if (tenants.size() > kTenantsMax) {
    return InvalidArgument("router.tenants names {} tenants, at most {} are allowed",
                           tenants.size(), kTenantsMax);
  }
  for (const auto& [name, weight] : tenants) {
    if (!IsWord(name)) {
      return InvalidArgument(
          "router.tenants: '{}' must be at most {} letters, digits, '-', '_' and '.'", name,
          kNameBytesMax);
    }
    if (weight < kWeightMin || weight > kWeightMax) {
      return InvalidArgument(
          "router.tenants: the weight of {} must be between {} and {:.0f}, got {}", name,
          kWeightMin, kWeightMax, weight);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBounds(std::string_view option, const std::map<std::string, int64_t>& bounds,
                         const std::map<std::string, double>& tenants) {
  std::vector<std::string> names = {kDefaultTenant};
  for (const auto& [name, weight] : tenants) names.push_back(name);
  for (const auto& [name, bound] : bounds) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      return InvalidArgument("{}: there is no tenant '{}' in router.tenants{}", option, name,
                             DidYouMean(name, names));
    }
    if (bound < 1) {
      return InvalidArgument("{}: the bound of {} must be at least 1, got {}", option, name, bound);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void QueueOptions::AddTo(OptionSet& set) {
  set.Add(
      "batch_ahead_percent", &batch_ahead_percent,
      {.flag = "--batch-ahead",
       .min = 0,
       .max = 10000,
       .help = "sequences a decode worker is given beyond its batch, in percent of it; the rest "
               "wait in the router"});
  set.Add("queue_order", &order,
          {{"fifo", QueueOrder::kFifo},
           {"deadline", QueueOrder::kDeadline},
           {"shortest", QueueOrder::kShortest}},
          {.help = "which of a tenant's waiting requests goes first: by arrival, by the end of its "
                   "time, by predicted length"});
  set.Add("queue_aging", &aging,
          {.min = 0,
           .max = 86400,
           .help = "by deadline or shortest, a request that has waited so long goes first"});
  set.Add("queue_requests_max", &requests_max,
          {.flag = "--max-queue-requests",
           .min = 0,
           .max = 1 << 20,
           .help = "requests that may wait in the router; beyond it 503, or 429 for a tenant that "
                   "is over its share"});
  set.Add("queue_tokens_max", &tokens_max,
          {.flag = "--max-queue-tokens",
           .min = 1,
           .max = 1LL << 40,
           .help = "prompt tokens that may wait in the router; beyond it as above"});
  set.Add("queue_wait_max", &wait_max,
          {.min = 0.01,
           .max = 86400,
           .zero = "none",
           .help = "longest wait in the router; 503 at once to what is expected to wait longer"});
  set.Add("queue_worker_wait", &worker_wait,
          {.min = 0,
           .max = 86400,
           .zero = "none",
           .help = "how long new requests wait while no decode worker can take them, counted from "
                   "when the last one could; then 503"});
  set.Add("queue_without_workers", &without_workers,
          {.help = "on: with no decode worker at all, requests wait for one, for queue_wait_max at "
                   "most, instead of for queue_worker_wait; the router stays ready"});
  set.Add(
      "retry_after_max", &retry_after_max,
      {.min = 1, .max = 86400, .help = "longest Retry-After told to those who are turned away"});
  set.Add("tenant_header", &tenant_header,
          {.help = "HTTP header or gRPC metadata that names a request's tenant"});
  set.Add("tenants", &tenants,
          {.zero = "none",
           .help = "tenants with their weights, such as gold=3,free=1; who names none of them is "
                   "'default'"});
  set.Add("tenant_requests_max", &tenant_requests_max,
          {.zero = "none",
           .help = "requests of a tenant that may wait, such as free=100; beyond it "
                   "429"});
  set.Add("tenant_tokens_max", &tenant_tokens_max,
          {.zero = "none", .help = "prompt tokens of a tenant that may wait; beyond it 429"});
}

absl::Status QueueOptions::Validate() const {
  if (!IsWord(tenant_header)) {
    return InvalidArgument(
        "router.tenant_header must be at most {} letters, digits, '-', '_' and '.', got '{}'",
        kNameBytesMax, tenant_header);
  }
  RETURN_IF_ERROR(CheckTenants(tenants));
  RETURN_IF_ERROR(CheckBounds("router.tenant_requests_max", tenant_requests_max, tenants));
  return CheckBounds("router.tenant_tokens_max", tenant_tokens_max, tenants);
}

}  // namespace baton::config
