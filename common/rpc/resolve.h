#pragma once

#include <string>
#include <vector>

namespace baton::rpc {

// Every numeric host:port behind a host:port whose host may be a name; empty when it does not
// resolve right now. A headless Service's name has one per pod. May take as long as the resolver
// does.
std::vector<std::string> Resolve(const std::string& address);

}  // namespace baton::rpc
