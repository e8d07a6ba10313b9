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
  struct Options {
    std::vector<config::Address> routers;
    std::string model;          // of the routers'; empty: all of them
    std::string api_key_file;   // one key; empty: none
    std::string http_tls_ca;    // PEM file; empty: plain HTTP
    std::string http_tls_name;  // what certificates are for; empty: the host in `routers`
  };
  explicit Scraper(Options options) : options_(std::move(options)) {}

  struct Round {
    std::map<std::string, RouterSample> answers;  // by numeric host:port
    // By host:port, as it was given if it is nobody's name.
    std::map<std::string, absl::Status> failures;
  };
  // At most two seconds for each of the two pages of a router. Key and CA are read each time, so
  // that new ones are taken without a restart; nobody answers while they cannot be read.
  Round Ask() const;

 private:
  const Options options_;
};

// The one key in the file, without white space around it. FAILED_PRECONDITION names a file that
// cannot be read, or holds none or several.
absl::StatusOr<std::string> ReadApiKey(const std::string& path);

}  // namespace baton::planner
