#pragma once

#include <string>

#include "baton/client.h"
#include "common/base/status.h"
#include "common/config/option_set.h"
#include "common/http/http_call.h"

namespace baton::cli {

// How a command proves itself at the cluster's doors, and what it believes of them.
struct DoorOptions {
  std::string api_key;      // empty: none
  std::string tls_ca;       // the gRPC door's, a PEM file; empty: plain
  std::string http_tls_ca;  // the HTTP door's; empty: plain

  void AddKeyTo(config::OptionSet& set);
  void AddGrpcTo(config::OptionSet& set);
  void AddHttpTo(config::OptionSet& set);

  // `base` with key and CA. FAILED_PRECONDITION when the CA's file cannot be read.
  absl::StatusOr<sdk::ClientOptions> Grpc(sdk::ClientOptions base = {}) const;
  http::Door Http(const config::Address& address) const {
    return {.address = address, .api_key = api_key, .tls_ca = http_tls_ca};
  }
};

}  // namespace baton::cli
