#pragma once

#include <string>

#include "common/base/status.h"
#include "common/config/router_options.h"
#include "services/router/http/http_request.h"
#include "services/router/http/response_writer.h"
#include "services/router/membership/attach_service.h"
#include "services/router/openai/api.h"
#include "services/router/placement/policy_table.h"

namespace baton::router {

// What operators may ask of a running router and change in it:
//   GET /admin/placement   which policy places requests, and which there are
//   PUT /admin/placement   {"policy": NAME, "model": MODEL, or none: for all}
//   POST /admin/drain      {"worker": NAME or id}: it hands over what runs there, and leaves
// Thread-safe.
class AdminApi {
 public:
  // All are borrowed.
  AdminApi(config::AdminAccess access, const openai::Api& api, PolicyTable& policies,
           const Roster& roster, AttachService& workers)
      : access_(access), api_(api), policies_(policies), roster_(roster), workers_(workers) {}

  // To a request for /admin/placement.
  HttpAnswer Placement(const HttpRequest& request);
  // To a request for /admin/drain: 202 and the worker's id. It is gone when /debug/cluster does not
  // list it any more.
  HttpAnswer Drain(const HttpRequest& request);

 private:
  // Who asks? An error answer's status, message and code, or 0.
  struct Refusal {
    int status = 0;
    std::string_view message;
    std::string_view code;
  };
  Refusal Refuse(const HttpRequest& request) const;
  absl::Status SetPlacement(const HttpRequest& request);
  absl::StatusOr<WorkerId> AskToDrain(const HttpRequest& request);
  std::string PlacementJson() const;

  const config::AdminAccess access_;
  const openai::Api& api_;
  PolicyTable& policies_;
  const Roster& roster_;
  AttachService& workers_;
};

}  // namespace baton::router
