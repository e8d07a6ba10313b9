#pragma once

#include <memory>

#include "common/base/status.h"
#include "common/config/router_options.h"
#include "common/rpc/credentials.h"
#include "services/router/access/api_keys.h"
#include "services/router/http/http_tls.h"

namespace baton::router {

// What the router proves itself with, and whom it lets in.
struct Security {
  rpc::Credentials credentials;       // gRPC's
  std::unique_ptr<HttpTls> http_tls;  // null: plain HTTP
  std::unique_ptr<ApiKeys> keys;

  // FAILED_PRECONDITION names the option and file that cannot be used, and what to do.
  static absl::StatusOr<Security> Make(const config::RouterOptions& options);
};

// One line in the log for every door that others can reach and that is neither encrypted nor asks
// for keys.
void WarnOfOpenDoors(const config::RouterOptions& options);

}  // namespace baton::router
