#pragma once

#include <vector>

#include "common/config/cluster_file.h"
#include "common/config/model_options.h"
#include "common/config/option_set.h"
#include "common/config/planner_options.h"
#include "common/config/router_options.h"
#include "common/config/up_options.h"
#include "common/config/worker_options.h"

namespace baton::config {

// Everything one cluster file describes, with its schema. Every process validates the whole file
// and uses the sections it needs. Not copyable: the schema points into the values.
class ClusterOptions {
 public:
  ClusterOptions();
  ClusterOptions(const ClusterOptions&) = delete;
  ClusterOptions& operator=(const ClusterOptions&) = delete;

  ModelOptions model;
  RouterOptions router;
  WorkerOptions prefill;
  WorkerOptions decode;
  PlannerOptions planner;
  UpOptions up;

  // All sections, in the order of the file.
  const std::vector<OptionSet*>& schema() const { return schema_; }
  // CHECKs that it exists.
  OptionSet& section(std::string_view name) const;

 private:
  OptionSet model_set_{"model", "Model"};
  OptionSet router_set_{"router", "Router"};
  OptionSet prefill_set_{"prefill", "Prefill worker"};
  OptionSet decode_set_{"decode", "Decode worker"};
  OptionSet planner_set_{"planner", "Planner"};
  OptionSet up_set_{"up", "Local cluster"};
  std::vector<OptionSet*> schema_;
};

}  // namespace baton::config
