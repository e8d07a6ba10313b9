#include "services/router/queue/tenant_line.h"

#include "common/base/check.h"

namespace baton::router {

void TenantLine::Add(uint64_t arrival, absl::Duration since, int64_t key) {
  CHECK(by_arrival_.empty() || Newest() < arrival, "arrival {} after {}", arrival, Newest());
  by_arrival_.emplace_hint(by_arrival_.end(), arrival, Place{.since = since, .key = key});
  by_key_.emplace(key, arrival);
}

void TenantLine::Remove(uint64_t arrival) {
  const auto found = by_arrival_.find(arrival);
  CHECK(found != by_arrival_.end(), "arrival {} does not wait", arrival);
  by_key_.erase({found->second.key, arrival});
  by_arrival_.erase(found);
}

uint64_t TenantLine::First(absl::Duration now, absl::Duration aging) const {
  const auto& [oldest, place] = *by_arrival_.begin();
  return now - place.since >= aging ? oldest : by_key_.begin()->second;
}

}  // namespace baton::router
