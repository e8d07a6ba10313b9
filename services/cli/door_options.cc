#include "services/cli/door_options.h"

#include <fstream>
#include <iterator>

#include "common/rpc/role.h"

namespace baton::cli {

void DoorOptions::AddKeyTo(config::OptionSet& set) {
  set.Add("api_key", &api_key,
          {.env = "BATON_API_KEY",
           .zero = "none",
           .help = "key for the cluster's doors; others on this machine see it when it is a flag"});
}

void DoorOptions::AddGrpcTo(config::OptionSet& set) {
  set.Add("tls_ca", &tls_ca,
          {.env = "BATON_TLS_CA",
           .zero = "off",
           .help = "PEM file with the cluster's CA: the gRPC door speaks TLS"});
}

void DoorOptions::AddHttpTo(config::OptionSet& set) {
  set.Add("http_tls_ca", &http_tls_ca,
          {.env = "BATON_HTTP_TLS_CA",
           .zero = "off",
           .help = "PEM file with the CA of the HTTP door, which speaks HTTPS"});
}

absl::StatusOr<sdk::ClientOptions> DoorOptions::Grpc(sdk::ClientOptions base) const {
  base.api_key = api_key;
  if (tls_ca.empty()) return base;
  std::ifstream file(tls_ca, std::ios::binary);
  if (!file) return FailedPrecondition("--tls-ca {}: cannot be read", tls_ca);
  base.tls_roots = std::string(std::istreambuf_iterator<char>(file), {});
  // The CA is the cluster's own, so what the router is says more than where it is.
  base.tls_name = rpc::NameOf(rpc::Role::kRouter);
  return base;
}

}  // namespace baton::cli
