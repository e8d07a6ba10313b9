#include "common/config/address.h"

#include <charconv>

namespace baton::config {
namespace {

absl::Status NotAnAddress(std::string_view text) {
  return InvalidArgument("must be an address such as 127.0.0.1:8000, got '{}'", text);
}

}  // namespace

bool Address::loopback() const {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string Address::text() const {
  if (empty()) return "";
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

absl::StatusOr<Address> ParseAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return NotAnAddress(text);
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
    if (host.empty()) return NotAnAddress(text);
  }
  if (host.find_first_of(" \t[]/,") != std::string_view::npos) return NotAnAddress(text);
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return InvalidArgument("must have IPv6 hosts in brackets such as [::1]:8000, got '{}'", text);
  }
  uint32_t port = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port > 65535) {
    return InvalidArgument("must have a port from 0 to 65535, got '{}'", text);
  }
  return Address{host.empty() ? "0.0.0.0" : std::string(host), static_cast<uint16_t>(port)};
}

}  // namespace baton::config
