#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>

#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/config/tls_options.h"
#include "common/rpc/role.h"

namespace baton::rpc {

// How this process proves itself to others and whom it believes: the one place that makes gRPC's
// credentials. A value; copies share the files' watcher. Thread-safe.
class Credentials {
 public:
  // Plain: nothing is encrypted and nobody proves anything.
  Credentials() = default;

  // Plain when `options` are off. Else the files are read, now and whenever they change, and
  // connections made from then on use what is in them. FAILED_PRECONDITION names the file that
  // cannot be used, why, and what to do. `role`: what the certificate must say.
  static absl::StatusOr<Credentials> Make(const config::TlsOptions& options, Role role);
  // For who is neither router nor worker: a tool with any of the cluster's certificates, a planner
  // with one of its own.
  static absl::StatusOr<Credentials> MakeWithoutRole(const config::TlsOptions& options);

  bool tls() const { return provider_ != nullptr; }

  // To a server that proves to be `role`, wherever it is dialled.
  std::shared_ptr<grpc::ChannelCredentials> ForChannel() const;
  // `clients_too`: who has no certificate may connect as well (and prove itself by an API key);
  // then services ask CheckPeer().
  std::shared_ptr<grpc::ServerCredentials> ForServer(bool clients_too) const;

 private:
  static Credentials Watch(const config::TlsOptions& options);

  std::shared_ptr<grpc::experimental::CertificateProviderInterface> provider_;  // null: plain
};

// Whether the caller has proved to be `role`. Always so on a server without TLS. UNAUTHENTICATED or
// PERMISSION_DENIED say what its certificate lacks.
absl::Status CheckPeer(const grpc::ServerContextBase& context, Role role);

}  // namespace baton::rpc
