#include "common/rpc/credentials.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <vector>

#include "common/rpc/grpc_log.h"
#include "common/rpc/tls_files.h"
#include "fmt/ranges.h"

namespace baton::rpc {
namespace {

namespace tls = grpc::experimental;

constexpr unsigned kReadEverySeconds = 1;

std::vector<std::string> Values(const grpc::AuthContext& context, const char* name) {
  std::vector<std::string> values;
  for (const grpc::string_ref& value : context.FindPropertyValues(name)) {
    values.emplace_back(value.data(), value.size());
  }
  return values;
}

bool Holds(const std::vector<std::string>& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

Credentials Credentials::Watch(const config::TlsOptions& options) {
  LogByGrpcGoesToOurs();
  Credentials credentials;
  credentials.provider_ = std::make_shared<tls::FileWatcherCertificateProvider>(
      options.key, options.certificate, options.ca, kReadEverySeconds);
  return credentials;
}

absl::StatusOr<Credentials> Credentials::Make(const config::TlsOptions& options, Role role) {
  if (!options.on()) return Credentials();
  RETURN_IF_ERROR(CheckTlsFiles(options, role));
  return Watch(options);
}

absl::StatusOr<Credentials> Credentials::MakeWithoutRole(const config::TlsOptions& options) {
  if (!options.on()) return Credentials();
  RETURN_IF_ERROR(CheckTlsFiles(options, std::nullopt));
  return Watch(options);
}

std::shared_ptr<grpc::ChannelCredentials> Credentials::ForChannel() const {
  if (!tls()) return grpc::InsecureChannelCredentials();
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(provider_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_certificate_verifier(std::make_shared<tls::HostNameCertificateVerifier>());
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> Credentials::ForServer(bool clients_too) const {
  if (!tls()) return grpc::InsecureServerCredentials();
  tls::TlsServerCredentialsOptions options(provider_);
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(clients_too
                                    ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return tls::TlsServerCredentials(options);
}

absl::Status CheckPeer(const grpc::ServerContextBase& context, Role role) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  const std::vector<std::string> security =
      Values(*peer, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
  const bool tls = Holds(security, GRPC_TLS_TRANSPORT_SECURITY_TYPE) ||
                   Holds(security, GRPC_SSL_TRANSPORT_SECURITY_TYPE);
  if (!tls) return absl::OkStatus();
  if (!peer->IsPeerAuthenticated()) {
    return absl::UnauthenticatedError(
        "a certificate of this cluster's CA is needed here: give tls_certificate, tls_key and "
        "tls_ca");
  }
  const std::vector<std::string> names = Values(*peer, GRPC_PEER_DNS_PROPERTY_NAME);
  if (Holds(names, NameOf(role))) return absl::OkStatus();
  return absl::PermissionDeniedError(
      fmt::format("the certificate must have the DNS name {} for this; it has: {}", NameOf(role),
                  names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

}  // namespace baton::rpc
