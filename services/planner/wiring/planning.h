#pragma once

#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/config/planner_options.h"
#include "common/http/page_server.h"
#include "common/rpc/server.h"
#include "services/planner/doors/external_scaler.h"
#include "services/planner/doors/planner_metrics.h"
#include "services/planner/watch/load_meter.h"
#include "services/planner/watch/scraper.h"

namespace baton::planner {

// What the sizing is told of the options.
PlanOptions PlanOptionsOf(const config::PlannerOptions& options);

// Every part of the planner, in the order of their dependence. Look() is called by main() again and
// again; the doors answer on their own threads.
class Planning {
 public:
  // UNAVAILABLE names the address when a door cannot be opened, FAILED_PRECONDITION the file of a
  // key or certificate that cannot be used.
  static absl::StatusOr<std::unique_ptr<Planning>> Start(const config::PlannerOptions& options,
                                                         const Clock& clock);
  ~Planning();

  // Asks the routers, plans, publishes, and logs a line for each changed decision.
  void Look();
  const std::string& grpc_address() const { return grpc_.address; }
  std::string http_address() const { return pages_->address().text(); }

 private:
  Planning(const config::PlannerOptions& options, const Clock& clock);
  http::PageServer::Pages Pages();
  void LogFailures(const Scraper::Round& round);
  void LogChanges(const Plan& plan);

  const Clock& clock_;
  const Scraper scraper_;
  LoadMeter meter_;
  Planner planner_;
  PlanBoard board_;
  PlannerMetrics metrics_;
  ExternalScaler scaler_;
  rpc::Server grpc_;
  std::unique_ptr<http::PageServer> pages_;
  int32_t last_prefill_ = -1, last_decode_ = -1;
  std::map<std::string, absl::Status> failing_;
};

}  // namespace baton::planner
