#include "common/rpc/resolve.h"

#include <netdb.h>
#include <sys/socket.h>

#include "fmt/format.h"

namespace baton::rpc {

std::vector<std::string> Resolve(const std::string& address) {
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon), port = address.substr(colon + 1);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return {};
  std::vector<std::string> all;
  for (addrinfo* at = found; at != nullptr; at = at->ai_next) {
    char name[NI_MAXHOST];
    if (getnameinfo(at->ai_addr, at->ai_addrlen, name, sizeof name, nullptr, 0, NI_NUMERICHOST) ==
        0) {
      const bool v6 = at->ai_family == AF_INET6;
      all.push_back(v6 ? fmt::format("[{}]:{}", name, port) : fmt::format("{}:{}", name, port));
    }
  }
  freeaddrinfo(found);
  return all;
}

}  // namespace baton::rpc
