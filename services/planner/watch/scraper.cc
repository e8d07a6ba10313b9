#include "services/planner/watch/scraper.h"

#include "common/http/http_call.h"
#include "common/rpc/resolve.h"

namespace baton::planner {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(2);

// This machine has one router behind it, however many addresses.
std::vector<std::string> AddressesOf(const config::Address& router) {
  if (router.host == "localhost") return {router.text()};
  return rpc::Resolve(router.text());
}

absl::StatusOr<std::string> PageOf(const config::Address& router, const std::string& path) {
  ASSIGN_OR_RETURN(http::Reply reply, http::Get({.address = router}, path, kPatience));
  if (reply.status == 200) return std::move(reply.body);
  return Unavailable("{} of {} answers {}", path, router.text(), reply.status);
}

absl::StatusOr<RouterSample> AskOne(const config::Address& router) {
  ASSIGN_OR_RETURN(const std::string cluster, PageOf(router, "/debug/cluster?decisions=0"));
  ASSIGN_OR_RETURN(const std::string metrics, PageOf(router, "/metrics"));
  return ReadRouter(cluster, metrics);
}

}  // namespace

Scraper::Round Scraper::Ask() const {
  Round round;
  for (const config::Address& given : routers_) {
    const std::vector<std::string> found = AddressesOf(given);
    if (found.empty()) round.failures[given.text()] = Unavailable("the name has no address");
    for (const std::string& text : found) {
      const auto address = config::ParseAddress(text);
      if (!address.ok()) {
        round.failures[text] = address.status();
        continue;
      }
      auto sample = AskOne(*address);
      if (sample.ok()) {
        round.answers[text] = *std::move(sample);
      } else {
        round.failures[text] = sample.status();
      }
    }
  }
  return round;
}

}  // namespace baton::planner
