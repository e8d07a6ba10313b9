#pragma once

#include <atomic>

#include "keda/externalscaler.grpc.pb.h"
#include "services/planner/doors/plan_board.h"

namespace baton::planner {

// KEDA's question, answered from the board. One worker is for one of the metric
// "baton-<pool>-workers", and there are as many of it as workers should be: what KEDA and its HPA
// compute is the plan.
//   INVALID_ARGUMENT  the trigger's metadata names no pool
//   UNAVAILABLE       no router has answered for too long: KEDA's fallback applies
// A stream holds a thread; beyond kStreamsMax they are refused with RESOURCE_EXHAUSTED.
class ExternalScaler : public externalscaler::ExternalScaler::Service {
 public:
  static constexpr int kStreamsMax = 64;

  // The board outlives this.
  explicit ExternalScaler(const PlanBoard& board) : board_(board) {}

  grpc::Status IsActive(grpc::ServerContext* context, const externalscaler::ScaledObjectRef* ref,
                        externalscaler::IsActiveResponse* response) override;
  grpc::Status StreamIsActive(
      grpc::ServerContext* context, const externalscaler::ScaledObjectRef* ref,
      grpc::ServerWriter<externalscaler::IsActiveResponse>* writer) override;
  grpc::Status GetMetricSpec(grpc::ServerContext* context,
                             const externalscaler::ScaledObjectRef* ref,
                             externalscaler::GetMetricSpecResponse* response) override;
  grpc::Status GetMetrics(grpc::ServerContext* context,
                          const externalscaler::GetMetricsRequest* request,
                          externalscaler::GetMetricsResponse* response) override;

 private:
  const PlanBoard& board_;
  std::atomic<int> streams_ = 0;
};

}  // namespace baton::planner
