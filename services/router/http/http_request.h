#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace baton::router {

// A whole request, read and within its limits. Owns its bytes.
struct HttpRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // "/v1/models", without the query
  std::string query;                                         // after '?', undecoded
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string request_id;  // the client's X-Request-Id if it is usable, else drawn; goes back with
                           // the answer

  bool from_this_machine = false;  // the other end of the connection is a loopback address
  std::string tenant;              // whose share it uses; empty until its route is known

  // Empty when absent. `name` in lower case.
  std::string_view Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
  // From this machine, and not on behalf of somebody else, as a proxy here would.
  bool local() const {
    return from_this_machine && Header("forwarded").empty() && Header("x-forwarded-for").empty();
  }
};

}  // namespace baton::router
