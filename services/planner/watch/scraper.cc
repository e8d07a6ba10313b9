#include "services/planner/watch/scraper.h"

#include <fstream>
#include <iterator>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
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

absl::StatusOr<std::string> PageOf(const http::Door& router, const std::string& path) {
  ASSIGN_OR_RETURN(http::Reply reply, http::Get(router, path, kPatience));
  if (reply.status == 200) return std::move(reply.body);
  if (reply.status == 401) {
    return absl::UnauthenticatedError(
        fmt::format("{} of {} answers 401: give planner.api_key_file a key that routers have", path,
                    router.address.text()));
  }
  return Unavailable("{} of {} answers {}", path, router.address.text(), reply.status);
}

absl::StatusOr<RouterSample> AskOne(const http::Door& router, std::string_view model) {
  ASSIGN_OR_RETURN(const std::string cluster, PageOf(router, "/debug/cluster?decisions=0"));
  ASSIGN_OR_RETURN(const std::string metrics, PageOf(router, "/metrics"));
  return ReadRouter(cluster, metrics, model);
}

}  // namespace

absl::StatusOr<std::string> ReadApiKey(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return FailedPrecondition(
        "planner.api_key_file {}: cannot be read; is the secret mounted, and may this user read "
        "it?",
        path);
  }
  std::string key(std::istreambuf_iterator<char>(file), {});
  absl::StripAsciiWhitespace(&key);
  const bool one = !key.empty() && absl::c_all_of(key, absl::ascii_isgraph);
  if (one) return key;
  return FailedPrecondition("planner.api_key_file {}: must hold one key and nothing else", path);
}

Scraper::Round Scraper::Ask() const {
  Round round;
  const absl::StatusOr<std::string> key = ReadApiKey(options_.api_key_file);
  for (const config::Address& given : options_.routers) {
    if (!key.ok()) {
      round.failures[given.text()] = key.status();
      continue;
    }
    const std::vector<std::string> found = AddressesOf(given);
    if (found.empty()) round.failures[given.text()] = Unavailable("the name has no address");
    for (const std::string& text : found) {
      const auto address = config::ParseAddress(text);
      if (!address.ok()) {
        round.failures[text] = address.status();
        continue;
      }
      auto sample =
          AskOne({.address = *address,
                  .api_key = *key,
                  .tls_ca = options_.http_tls_ca,
                  .tls_name = options_.http_tls_name.empty() ? given.host : options_.http_tls_name},
                 options_.model);
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
