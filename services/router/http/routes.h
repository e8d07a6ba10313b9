#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/router/access/api_keys.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/http/admin_api.h"
#include "services/router/http/http_server.h"
#include "services/router/http/spawn.h"
#include "services/router/membership/roster.h"
#include "services/router/openai/api.h"
#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

// Which path does what. Thread-safe. Requests that mean more than a little work on text are run by
// `spawn`, everything else on the I/O thread.
class Routes : public HttpHandler {
 public:
  struct Options {
    absl::Duration stream_keepalive = absl::Seconds(15);  // 0: no comments in silent streams
    std::string tenant_header = "x-baton-tenant";         // lower case
  };
  // Everything borrowed outlives the server that calls this.
  Routes(const Options& options, const ApiKeys& keys, const openai::Api& api, const Roster& roster,
         const Dispatcher& dispatcher, AdminApi& admin, RouterMetrics& metrics, Spawn spawn);

  void OnRequest(HttpRequest request, std::shared_ptr<ResponseWriter> writer) override;
  absl::StatusOr<std::shared_ptr<WebSocketListener>> OnWebSocket(
      const HttpRequest& request, std::weak_ptr<WebSocket> socket) override;
  void OnAnswered(std::string_view route, int status) override;
  void OnConnections(int open) override { metrics_.HttpConnections(open); }

  // From now on /health/ready says no.
  void Drain() { draining_ = true; }

 private:
  using Action = void (Routes::*)(const HttpRequest&, std::shared_ptr<ResponseWriter>);
  // Who may call, where there are keys.
  enum class Door : uint8_t { kOpen, kKey, kKeyOrLocal };
  struct Route {
    std::string_view method;
    std::string_view path;
    Action action;
    Door door;
    bool on_text;  // tokenizes or parses a body: not on the I/O thread, unless IsQuick()
  };
  static const std::vector<Route>& Table();
  absl::StatusOr<std::string> TenantOf(const HttpRequest& request, Door door) const;
  bool TryRoute(HttpRequest& request, std::shared_ptr<ResponseWriter>& writer);
  bool IsQuick(const HttpRequest& request) const;
  void NoSuchRoute(const HttpRequest& request, ResponseWriter& writer);

  void Chat(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Completion(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Generate(openai::Endpoint endpoint, const HttpRequest& request,
                std::shared_ptr<ResponseWriter> writer);
  std::shared_ptr<openai::Outlet> StreamTo(const std::shared_ptr<ResponseWriter>& writer);
  void Models(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void OneModel(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Tokenize(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Detokenize(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Live(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Ready(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void Metrics(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void AdminDrain(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void AdminPlacement(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void DebugCluster(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void DebugRequests(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);
  void DebugRequest(const HttpRequest& request, std::shared_ptr<ResponseWriter> writer);

  const Options options_;
  const ApiKeys& keys_;
  const openai::Api& api_;
  const Roster& roster_;
  const Dispatcher& dispatcher_;
  AdminApi& admin_;
  RouterMetrics& metrics_;
  const Spawn spawn_;
  std::atomic<bool> draining_ = false;
};

}  // namespace baton::router
