#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/tls_options.h"
#include "common/rpc/role.h"

namespace baton::rpc {

// Whether gRPC will be able to use these files, told before it tries, because gRPC tells only that
// handshakes fail. FAILED_PRECONDITION names the option, the file, what is wrong and what to do.
// Checked: they can be read and parsed; the key is the certificate's; the certificate is signed by
// the CA, in time, and names `role` (any, or none, when absent).
absl::Status CheckTlsFiles(const config::TlsOptions& options, std::optional<Role> role);

// The same of a certificate and its key alone, under the names that their options have: can they be
// read, and are they a pair?
absl::Status CheckTlsPair(std::string_view certificate_option, const std::string& certificate,
                          std::string_view key_option, const std::string& key);

}  // namespace baton::rpc
