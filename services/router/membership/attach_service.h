#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/cluster.grpc.pb.h"
#include "services/router/membership/roster.h"

namespace baton::router {

class AttachCall;

// `baton.v1.Cluster`: workers' streams become entries of the roster. A stream's end is the end of
// the membership. Callbacks only translate.
class AttachService : public v1::Cluster::CallbackService {
 public:
  // The roster outlives the service's server.
  AttachService(Roster& roster, std::string router_id)
      : roster_(roster), router_id_(std::move(router_id)) {}

  grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice>* Attach(
      grpc::CallbackServerContext* context) override;
  // Asks a worker to finish and leave. NOT_FOUND when it is not attached here (any more).
  absl::Status AskToDrain(const WorkerId& id);
  // Ends every stream, which none does by itself: UNAVAILABLE, come again. New ones end at once.
  void Shutdown();

 private:
  friend class AttachCall;
  // False: all is over.
  bool Remember(const WorkerId& id, AttachCall* call);
  void Forget(const WorkerId& id, const AttachCall* call);

  Roster& roster_;
  const std::string router_id_;
  absl::Mutex mutex_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<WorkerId, AttachCall*> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
