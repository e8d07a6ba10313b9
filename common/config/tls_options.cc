#include "common/config/tls_options.h"

namespace baton::config {

void TlsOptions::AddTo(OptionSet& set) {
  set.Add("tls_certificate", &certificate,
          {.zero = "off",
           .help = "PEM file with this process's certificate: gRPC is TLS, and both sides of a "
                   "connection inside the cluster prove who they are"});
  set.Add("tls_key", &key, {.zero = "off", .help = "PEM file with the certificate's key"});
  set.Add("tls_ca", &ca,
          {.zero = "off",
           .help = "PEM file with the cluster's own CA: who has no certificate of it is refused"});
}

absl::Status TlsOptions::Validate(std::string_view section) const {
  if (certificate.empty() == key.empty() && key.empty() == ca.empty()) return absl::OkStatus();
  return InvalidArgument(
      "{0}.tls_certificate, {0}.tls_key and {0}.tls_ca belong together; missing: {1}", section,
      certificate.empty() ? "tls_certificate"
      : key.empty()       ? "tls_key"
                          : "tls_ca");
}

}  // namespace baton::config
