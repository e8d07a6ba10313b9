#include "services/router/queue/service_rate.h"

#include <cmath>

namespace baton::router {
namespace {

constexpr double kBegunMin = 4;  // before that many, one long request would make the rate

}  // namespace

void ServiceRate::SetBusy(bool busy, absl::Duration now) {
  if (busy == busy_) return;
  Advance(now);
  busy_ = busy;
}

void ServiceRate::Count(absl::Duration now) {
  Advance(now);
  begun_ += 1;
}

double ServiceRate::PerSecond(absl::Duration now) const {
  const double seconds = busy_ ? absl::ToDoubleSeconds(now - since_) : 0;
  const double kept = std::exp(-seconds / absl::ToDoubleSeconds(memory_));
  const double total = seconds_ * kept + seconds;
  return begun_ < kBegunMin || total <= 0 ? 0 : begun_ * kept / total;
}

void ServiceRate::Advance(absl::Duration now) {
  const double seconds = busy_ ? absl::ToDoubleSeconds(now - since_) : 0;
  const double kept = std::exp(-seconds / absl::ToDoubleSeconds(memory_));
  begun_ *= kept;
  seconds_ = seconds_ * kept + seconds;
  since_ = now;
}

}  // namespace baton::router
