#include "services/planner/doors/external_scaler.h"

#include <optional>

#include "common/rpc/status.h"
#include "fmt/format.h"

namespace baton::planner {
namespace {

// How soon a stream notices that its caller is gone.
constexpr absl::Duration kLookUp = absl::Seconds(1);

absl::StatusOr<Pool> PoolOf(const externalscaler::ScaledObjectRef& ref) {
  const auto found = ref.scalermetadata().find("pool");
  const std::string named = found == ref.scalermetadata().end() ? "" : found->second;
  for (const Pool pool : {Pool::kPrefill, Pool::kDecode}) {
    if (named == NameOf(pool)) return pool;
  }
  return InvalidArgument(
      "{}/{}: the trigger's metadata must have pool: prefill or decode, got '{}'", ref.namespace_(),
      ref.name(), named.substr(0, 64));
}

std::string MetricOf(Pool pool) { return fmt::format("baton-{}-workers", NameOf(pool)); }

absl::StatusOr<int32_t> AnswerTo(const externalscaler::ScaledObjectRef& ref,
                                 const PlanBoard& board) {
  ASSIGN_OR_RETURN(const Pool pool, PoolOf(ref));
  return board.Answer(pool);
}

}  // namespace

grpc::Status ExternalScaler::IsActive(grpc::ServerContext* context,
                                      const externalscaler::ScaledObjectRef* ref,
                                      externalscaler::IsActiveResponse* response) {
  const auto workers = AnswerTo(*ref, board_);
  if (!workers.ok()) return rpc::ToGrpc(workers.status());
  response->set_result(*workers > 0);
  return grpc::Status::OK;
}

// Says how it is at once, and again whenever that changes.
grpc::Status ExternalScaler::StreamIsActive(
    grpc::ServerContext* context, const externalscaler::ScaledObjectRef* ref,
    grpc::ServerWriter<externalscaler::IsActiveResponse>* writer) {
  struct Held {
    std::atomic<int>& count;
    const int before;
    ~Held() { --count; }
  } const held{streams_, streams_++};
  if (held.before >= kStreamsMax) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams are open"};
  }
  std::optional<bool> told;
  while (!context->IsCancelled() && !board_.closed()) {
    const uint64_t seen = board_.version();
    const auto workers = AnswerTo(*ref, board_);
    if (absl::IsInvalidArgument(workers.status())) return rpc::ToGrpc(workers.status());
    // What nobody knows is not told: KEDA keeps what it has.
    if (workers.ok() && told != (*workers > 0)) {
      told = *workers > 0;
      externalscaler::IsActiveResponse response;
      response.set_result(*told);
      if (!writer->Write(response)) break;
    }
    board_.AwaitChange(seen, kLookUp);
  }
  return grpc::Status::OK;
}

grpc::Status ExternalScaler::GetMetricSpec(grpc::ServerContext* context,
                                           const externalscaler::ScaledObjectRef* ref,
                                           externalscaler::GetMetricSpecResponse* response) {
  const auto pool = PoolOf(*ref);
  if (!pool.ok()) return rpc::ToGrpc(pool.status());
  externalscaler::MetricSpec* spec = response->add_metricspecs();
  spec->set_metricname(MetricOf(*pool));
  spec->set_targetsize(1);
  spec->set_targetsizefloat(1);
  return grpc::Status::OK;
}

grpc::Status ExternalScaler::GetMetrics(grpc::ServerContext* context,
                                        const externalscaler::GetMetricsRequest* request,
                                        externalscaler::GetMetricsResponse* response) {
  const auto workers = AnswerTo(request->scaledobjectref(), board_);
  if (!workers.ok()) return rpc::ToGrpc(workers.status());
  externalscaler::MetricValue* value = response->add_metricvalues();
  value->set_metricname(request->metricname());
  value->set_metricvalue(*workers);
  value->set_metricvaluefloat(*workers);
  return grpc::Status::OK;
}

}  // namespace baton::planner
