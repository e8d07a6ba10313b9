#include "services/cli/doctor/cluster_picture.h"

#include <algorithm>

#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using Json = nlohmann::ordered_json;

double Rate(uint64_t bytes, double ms) {
  return ms > 0 ? static_cast<double>(bytes) / ms * 1e-6 : 0;
}

WorkerPicture ReadWorker(const Json& json) {
  return {.id = json.at("id"),
          .is_decode = json.at("role") == "decode",
          .model = json.at("model"),
          .address = json.at("address"),
          .fingerprint = json.at("fingerprint"),
          .reachable = json.at("reachable"),
          .suspect = json.at("suspect"),
          .draining = json.at("draining")};
}

}  // namespace

ClockOffset OffsetOf(absl::Time asked, absl::Time answered, absl::Time theirs) {
  const absl::Duration half = (answered - asked) / 2;
  return {.ahead = theirs - (asked + half), .give_or_take = half};
}

double PathPicture::gigabytes_per_second() const {
  if (round_ms.empty()) return 0;
  std::vector<double> times = round_ms;
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return Rate(round_bytes, times[times.size() / 2]);
}

double PathPicture::best_gigabytes_per_second() const {
  return round_ms.empty() ? 0 : Rate(round_bytes, *std::ranges::min_element(round_ms));
}

absl::StatusOr<ClusterPicture> ReadClusterPage(const std::string& json, absl::Time asked,
                                               absl::Time answered) {
  ClusterPicture picture;
  try {
    const Json page = Json::parse(json);
    const Json& router = page.at("router");
    picture.router_version = router.value("version", "");
    if (const int64_t clock = router.value("wall_clock_us", int64_t{0}); clock != 0) {
      picture.router_clock = OffsetOf(asked, answered, absl::FromUnixMicros(clock));
    }
    for (const Json& worker : page.at("workers")) picture.workers.push_back(ReadWorker(worker));
  } catch (const Json::exception& error) {
    return Unavailable("/debug/cluster is not a router's: {}", error.what());
  }
  return picture;
}

}  // namespace baton::cli
