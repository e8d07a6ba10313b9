#include "services/router/wiring/security.h"

#include <set>
#include <string>

#include "common/telemetry/logging.h"

namespace baton::router {
namespace {

absl::StatusOr<std::unique_ptr<ApiKeys>> KeysOf(const config::RouterOptions& options) {
  if (options.api_keys_file.empty()) return std::make_unique<ApiKeys>();
  std::set<std::string> tenants;
  for (const auto& [name, weight] : options.queue.tenants) tenants.insert(name);
  return ApiKeys::Load(options.api_keys_file, std::move(tenants));
}

}  // namespace

absl::StatusOr<Security> Security::Make(const config::RouterOptions& options) {
  Security security;
  ASSIGN_OR_RETURN(security.credentials, rpc::Credentials::Make(options.tls, rpc::Role::kRouter));
  if (!options.http_tls_certificate.empty()) {
    ASSIGN_OR_RETURN(security.http_tls,
                     HttpTls::Load(options.http_tls_certificate, options.http_tls_key));
  }
  ASSIGN_OR_RETURN(security.keys, KeysOf(options));
  return security;
}

void WarnOfOpenDoors(const config::RouterOptions& options) {
  if (!options.grpc.loopback() && !options.tls.on()) {
    telemetry::LogWarning(
        "router",
        "gRPC without TLS is open to the network: whoever reaches it may register as a worker; "
        "give tls_certificate, tls_key and tls_ca, or keep it on a trusted network",
        {{"grpc", options.grpc.text()}});
  }
  if (!options.http.loopback() && options.http_tls_certificate.empty()) {
    telemetry::LogWarning(
        "router",
        options.api_keys_file.empty()
            ? "HTTP without TLS and without API keys is open to the network; give "
              "http_tls_certificate, http_tls_key and api_keys_file, or put a proxy in front"
            : "API keys travel over HTTP without TLS; give http_tls_certificate and http_tls_key, "
              "or put a proxy in front",
        {{"http", options.http.text()}});
  }
}

}  // namespace baton::router
