#include "services/router/wiring/router.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/ascii.h"
#include "common/rpc/server.h"
#include "common/telemetry/logging.h"
#include "grpcpp/health_check_service_interface.h"
#include "services/router/dispatch/grpc_decode_link.h"
#include "services/router/grpc/inference_service.h"
#include "services/router/http/admin_api.h"
#include "services/router/http/routes.h"
#include "services/router/intake/text_threads.h"
#include "services/router/membership/attach_service.h"
#include "services/router/placement/policy_table.h"
#include "services/router/tracing/flight_tracer.h"
#include "services/router/wiring/queue_options.h"
#include "services/router/wiring/security.h"

namespace baton::router {
namespace {

constexpr size_t kTextTasksWaitingMax = 4096;
// For calls to hear how they ended. What is still open then is cut off.
constexpr absl::Duration kCallsEnd = absl::Seconds(2);
constexpr char kInferenceService[] = "baton.v1.Inference";

// 0 says: none.
absl::Duration LimitOf(absl::Duration limit) {
  return limit == absl::ZeroDuration() ? absl::InfiniteDuration() : limit;
}

std::unique_ptr<FlightTracer> TracerOf(const config::RouterOptions& options,
                                       const std::string& router,
                                       std::unique_ptr<telemetry::SpanSink> traces,
                                       telemetry::Metrics& metrics) {
  if (traces == nullptr) return nullptr;
  return std::make_unique<FlightTracer>(
      FlightTracer::Options{.sampling = {.ratio = options.trace_ratio,
                                         .slow = LimitOf(options.trace_slow),
                                         .slow_ttft = LimitOf(options.trace_slow_ttft)},
                            .queue = {},
                            .router = router},
      std::move(traces), metrics);
}

absl::Duration TimeoutOf(const config::RouterOptions& options) {
  return LimitOf(options.request_timeout);
}

int TextThreadsOf(const config::RouterOptions& options) {
  if (options.text_threads > 0) return options.text_threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2);
}

HttpServerOptions HttpOptionsOf(const config::RouterOptions& options, HttpTls* tls) {
  return {.tls = tls,
          .host = options.http.host,
          .port = options.http.port,
          .threads = options.http_threads,
          .header_bytes_max = static_cast<size_t>(options.header_bytes_max.count),
          .body_bytes_max = static_cast<size_t>(options.body_bytes_max.count),
          .stream_bytes_max = static_cast<size_t>(options.stream_buffer_bytes_max.count),
          .connections_max = options.connections_max,
          .header_timeout = options.header_timeout,
          .body_timeout = options.body_timeout,
          .send_timeout = options.send_timeout};
}

std::string LowerCase(std::string text) {
  absl::AsciiStrToLower(&text);
  return text;
}

// Members are in the order of their dependence: each outlives those after it.
class WiredRouter : public Router {
 public:
  // `traces`: null: none are made.
  WiredRouter(const config::RouterOptions& options, Security security, ServedModels models,
              std::unique_ptr<PolicyTable> policies, std::unique_ptr<telemetry::SpanSink> traces,
              const Clock& clock)
      : clock_(clock),
        security_(std::move(security)),
        name_(fmt::format("router-{:08x}", std::random_device()())),
        tracer_(TracerOf(options, name_, std::move(traces), metrics_.registry())),
        models_(std::move(models)),
        policies_(std::move(policies)),
        roster_({.seed = std::random_device()()}, clock),
        dispatcher_({.inflight_requests_max = options.inflight_requests_max,
                     .resume_timeout = options.resume_timeout,
                     .decisions_kept = options.decisions_kept,
                     .queue = RequestQueueOptionsOf(options.queue),
                     .batch_ahead_percent = options.queue.batch_ahead_percent,
                     .worker_wait = WorkerWaitOf(options.queue)},
                    *policies_, roster_, metrics_, GrpcDecodeLink::Opener(security_.credentials),
                    clock),
        intake_({.worker_wait = WorkerWaitOf(options.queue),
                 .metrics = &metrics_,
                 .tracing = tracer_ ? &tracer_->sampling() : nullptr},
                models_, roster_, clock),
        api_({.json_depth_max = static_cast<size_t>(options.json_depth_max),
              .request_timeout = TimeoutOf(options)},
             intake_, dispatcher_, clock),
        attach_(roster_, name_),
        inference_({.generate = {.stream_bytes_max =
                                     static_cast<size_t>(options.stream_buffer_bytes_max.count),
                                 .request_timeout = TimeoutOf(options)},
                    .tenant_metadata = LowerCase(options.queue.tenant_header)},
                   *security_.keys, intake_, dispatcher_, roster_),
        admin_(options.admin, api_, *policies_, roster_, attach_),
        text_threads_(TextThreadsOf(options), kTextTasksWaitingMax),
        routes_(
            {.stream_keepalive = options.stream_keepalive,
             .tenant_header = LowerCase(options.queue.tenant_header)},
            *security_.keys, api_, roster_, dispatcher_, admin_, metrics_,
            [this](std::function<void()> task) { return text_threads_.Spawn(std::move(task)); }) {
    for (const std::string& model : models_.names()) metrics_.Of(model);
    if (tracer_ == nullptr) return;
    dispatcher_.set_landed([this](const FlightReport& report) { tracer_->OnLanded(report); });
  }
  ~WiredRouter() override;

  absl::Status Listen(const config::RouterOptions& options);
  std::string http_address() const override { return http_->address(); }
  std::string grpc_address() const override { return grpc_.address; }
  void Tick() override;
  void Drain() override;
  int inflight() const override { return dispatcher_.inflight(); }
  void Close() override;

 private:
  const Clock& clock_;
  const Security security_;
  const std::string name_;
  RouterMetrics metrics_;
  const std::unique_ptr<FlightTracer> tracer_;  // null: off
  const ServedModels models_;
  const std::unique_ptr<PolicyTable> policies_;
  Roster roster_;
  Dispatcher dispatcher_;
  Intake intake_;
  openai::Api api_;
  AttachService attach_;
  InferenceService inference_;
  AdminApi admin_;
  TextThreads text_threads_;
  Routes routes_;
  rpc::Server grpc_;
  std::unique_ptr<HttpServer> http_;
  std::atomic<bool> draining_ = false;  // Tick() and Drain() may come from two threads
};

absl::Status WiredRouter::Listen(const config::RouterOptions& options) {
  ASSIGN_OR_RETURN(grpc_, rpc::StartServer({.listen = options.grpc.text(),
                                            .credentials = security_.credentials,
                                            .clients_too = true},
                                           {&inference_, &attach_}));
  Tick();  // health says "not serving" from the first moment
  ASSIGN_OR_RETURN(http_,
                   HttpServer::Start(HttpOptionsOf(options, security_.http_tls.get()), routes_));
  return absl::OkStatus();
}

void WiredRouter::Tick() {
  dispatcher_.Tick();
  security_.keys->Refresh(clock_.Monotonic());
  const bool serving = dispatcher_.ready() && !draining_;
  if (auto* health = grpc_.server->GetHealthCheckService()) {
    health->SetServingStatus(kInferenceService, serving);
    health->SetServingStatus("", serving);
  }
}

void WiredRouter::Drain() {
  draining_ = true;
  routes_.Drain();
  dispatcher_.Drain();
  http_->Drain();
  Tick();
}

void WiredRouter::Close() {
  dispatcher_.Drain();
  text_threads_.Close();  // its tasks hold answers, and these must not outlive the HTTP server
  dispatcher_.Shutdown();
  attach_.Shutdown();
  if (!inference_.AwaitStreamsEnd(kCallsEnd)) {
    telemetry::LogWarning("router", "cutting streams whose clients do not read");
  }
  http_.reset();
  if (tracer_ != nullptr) tracer_->Close();  // last: nobody waits for it any more
}

WiredRouter::~WiredRouter() {
  Close();
  if (grpc_.server) grpc_.server->Shutdown(absl::ToChronoTime(absl::Now() + kCallsEnd));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Router>> Router::Start(const config::RouterOptions& options,
                                                      ServedModels models, const Clock& clock) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(Security security, Security::Make(options));
  PolicyOptions policy{.seed = std::random_device()()};
  policy.cost.itl_target_ms = absl::ToDoubleMilliseconds(options.itl_target);
  auto policies = PolicyTable::Make(options.placement, options.model_placement, policy);
  if (!policies.ok()) return Annotate(policies.status(), "placement");
  for (const auto& [name, policy] : options.model_placement) {
    if (models.Has(name)) continue;
    telemetry::LogWarning("router", "model_placement names a model that is not served here",
                          {{"model", name}});
  }
  std::unique_ptr<telemetry::SpanSink> traces;
  if (!options.trace_endpoint.empty()) {
    auto sink = telemetry::OpenOtlp({.endpoint = options.trace_endpoint});
    if (!sink.ok()) return Annotate(sink.status(), "trace_endpoint");
    traces = *std::move(sink);
  }
  auto router = std::make_unique<WiredRouter>(options, std::move(security), std::move(models),
                                              *std::move(policies), std::move(traces), clock);
  RETURN_IF_ERROR(router->Listen(options));
  WarnOfOpenDoors(options);
  return router;
}

}  // namespace baton::router
