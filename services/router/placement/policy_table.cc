#include "services/router/placement/policy_table.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton::router {

absl::StatusOr<std::unique_ptr<PolicyTable>> PolicyTable::Make(
    std::string_view policy, const std::map<std::string, std::string>& models,
    const PolicyOptions& options) {
  auto table = std::unique_ptr<PolicyTable>(new PolicyTable(options));
  RETURN_IF_ERROR(table->Set(policy).status());
  for (const auto& [model, own] : models) {
    RETURN_IF_ERROR(Annotate(table->SetFor(model, own).status(), model));
  }
  return table;
}

std::string_view PolicyTable::Setting::PolicyOf(std::string_view model) const {
  const auto own = models.find(std::string(model));
  return own == models.end() ? policy : own->second;
}

Decision PolicyTable::Decide(std::string_view model, const PlacementRequest& request,
                             const PlacementSnapshot& snapshot) {
  const std::shared_ptr<Seat> seat = SeatOf(model);
  absl::MutexLock lock(&seat->mutex);
  return seat->policy->Decide(request, snapshot);
}

std::shared_ptr<PolicyTable::Seat> PolicyTable::SeatOf(std::string_view model) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Seat>& seat = seats_[std::string(model)];
  if (seat == nullptr) {
    auto policy = MakePolicy(setting_.PolicyOf(model), options_);
    CHECK(policy.ok(), "a policy was taken that cannot be made: {}", MessageOf(policy.status()));
    seat = std::make_shared<Seat>();
    seat->policy = *std::move(policy);
  }
  return seat;
}

PolicyTable::Setting PolicyTable::setting() const {
  absl::MutexLock lock(&mutex_);
  return setting_;
}

absl::StatusOr<std::string> PolicyTable::Set(std::string_view policy) {
  RETURN_IF_ERROR(MakePolicy(policy, options_).status());
  absl::MutexLock lock(&mutex_);
  if (setting_.policy == policy) return setting_.policy;
  for (auto seat = seats_.begin(); seat != seats_.end();) {
    const auto here = seat++;
    if (!setting_.models.contains(here->first)) seats_.erase(here);
  }
  return std::exchange(setting_.policy, std::string(policy));
}

absl::StatusOr<std::string> PolicyTable::SetFor(std::string_view model, std::string_view policy) {
  RETURN_IF_ERROR(MakePolicy(policy, options_).status());
  absl::MutexLock lock(&mutex_);
  const std::string before(setting_.PolicyOf(model));
  setting_.models[std::string(model)] = std::string(policy);
  if (before != policy) seats_.erase(std::string(model));
  return before;
}

std::string PolicyTable::Clear(std::string_view model) {
  absl::MutexLock lock(&mutex_);
  const std::string before(setting_.PolicyOf(model));
  setting_.models.erase(std::string(model));
  if (before != setting_.policy) seats_.erase(std::string(model));
  return before;
}

}  // namespace baton::router
