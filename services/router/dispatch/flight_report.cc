#include "services/router/dispatch/flight_report.h"

#include <algorithm>

namespace baton::router {

void FlightReport::AddPlacement(const Decision& decision, absl::Duration asked,
                                absl::Duration after) {
  ++placements_total;
  if (placements.size() == kPlacementsMax) placements.erase(placements.begin() + 1);
  placements.push_back({.decision = decision, .asked = asked, .after = after});
}

std::string_view FlightReport::Placement::turned_to() const {
  if (!measured || decision.prefill.empty() == measured->prefill_worker().empty()) return "";
  if (decision.prefill.empty()) return "remote";
  return measured->failures().empty() ? "local" : "";
}

bool IsNamed(const RequestId& request, std::string_view name) {
  const std::string_view id = request.value();
  return id.starts_with(name) && (id.size() == name.size() || id[name.size()] == '-');
}

const Candidate* ChosenOf(const Decision& decision) {
  const WorkerId prefill = decision.prefill.empty() ? WorkerId() : decision.prefill.front();
  const auto chosen = std::find_if(
      decision.candidates.begin(), decision.candidates.end(), [&](const Candidate& candidate) {
        return candidate.decode == decision.decode && candidate.prefill == prefill;
      });
  return chosen == decision.candidates.end() ? nullptr : &*chosen;
}

}  // namespace baton::router
