#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/config/address.h"
#include "services/planner/watch/router_page.h"

namespace baton::planner {

// Asks routers for their pages, one after the other. One thread.
class Scraper {
 public:
  explicit Scraper(std::vector<config::Address> routers) : routers_(std::move(routers)) {}

  struct Round {
    std::map<std::string, RouterSample> answers;  // by numeric host:port
    // By host:port, as it was given if it is nobody's name.
    std::map<std::string, absl::Status> failures;
  };
  // At most two seconds for each of the two pages of a router.
  Round Ask() const;

 private:
  const std::vector<config::Address> routers_;
};

}  // namespace baton::planner
