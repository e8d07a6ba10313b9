#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"

// The services every gRPC server of ours has besides its own, as their clients (kubelet, grpcurl)
// use them: by their wire format, so that nothing of the server's own code is on this side.
namespace baton::testing {

enum class Health : uint8_t { kUnknown = 0, kServing = 1, kNotServing = 2 };

// grpc.health.v1.Health/Check; an empty service means the whole server. NOT_FOUND: the server does
// not know the service.
absl::StatusOr<Health> HealthOf(const std::string& address, const std::string& service);

// Server reflection: the services the server lists.
absl::StatusOr<std::vector<std::string>> ListServices(const std::string& address);

// Server reflection: the methods of a service, in the order of its definition. NOT_FOUND when the
// server has no definition of it.
absl::StatusOr<std::vector<std::string>> MethodsOf(const std::string& address,
                                                   const std::string& service);

}  // namespace baton::testing
