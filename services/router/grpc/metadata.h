#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

namespace baton::router {

// What a call came with under this name, in lower case; empty when there is nothing.
inline std::string Metadata(const grpc::CallbackServerContext& context, const std::string& key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end()
             ? ""
             : std::string(found->second.data(), found->second.size());
}

}  // namespace baton::router
