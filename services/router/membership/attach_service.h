#pragma once

#include <string>

#include "baton/v1/cluster.grpc.pb.h"
#include "services/router/membership/roster.h"

namespace baton::router {

// `baton.v1.Cluster`: workers' streams become entries of the roster. A stream's end is the end of
// the membership. Callbacks only translate.
class AttachService : public v1::Cluster::CallbackService {
 public:
  // The roster outlives the service's server.
  AttachService(Roster& roster, std::string router_id)
      : roster_(roster), router_id_(std::move(router_id)) {}

  grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  Roster& roster_;
  const std::string router_id_;
};

}  // namespace baton::router
