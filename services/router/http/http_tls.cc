#include "services/router/http/http_tls.h"

#include "common/rpc/tls_files.h"
#include "common/telemetry/logging.h"

namespace baton::router {
namespace {

namespace ssl = boost::asio::ssl;

constexpr absl::Duration kLookEvery = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<HttpTls>> HttpTls::Load(std::string certificate, std::string key) {
  std::unique_ptr<HttpTls> tls(new HttpTls(std::move(certificate), std::move(key)));
  absl::MutexLock lock(&tls->mutex_);
  // Before: a change meanwhile is seen afterwards.
  tls->certificate_stamp_ = StampOf(tls->certificate_);
  tls->key_stamp_ = StampOf(tls->key_);
  ASSIGN_OR_RETURN(tls->context_, tls->Read());
  return tls;
}

absl::StatusOr<HttpTls::Context> HttpTls::Read() const {
  RETURN_IF_ERROR(rpc::CheckTlsPair("http_tls_certificate", certificate_, "http_tls_key", key_));
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  context->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 |
                       ssl::context::no_tlsv1_1 | ssl::context::single_dh_use);
  boost::system::error_code error;
  context->use_certificate_chain_file(certificate_, error);
  if (!error) context->use_private_key_file(key_, ssl::context::pem, error);
  if (!error) return context;
  return FailedPrecondition("http_tls_certificate {}: {}", certificate_, error.message());
}

std::shared_ptr<ssl::context> HttpTls::context() const {
  absl::MutexLock lock(&mutex_);
  return context_;
}

void HttpTls::Refresh(absl::Duration now) {
  {
    absl::MutexLock lock(&mutex_);
    if (now < look_at_) return;
    look_at_ = now + kLookEvery;
    const FileStamp certificate = StampOf(certificate_), key = StampOf(key_);
    if (certificate == certificate_stamp_ && key == key_stamp_) return;
    certificate_stamp_ = certificate;
    key_stamp_ = key;
  }
  absl::StatusOr<Context> context = Read();
  if (!context.ok()) {
    return telemetry::LogError("http", "the certificate of before stays in use",
                               {{"why", MessageOf(context.status())}});
  }
  telemetry::LogInfo("http", "certificate read again", {{"certificate", certificate_}});
  absl::MutexLock lock(&mutex_);
  context_ = *std::move(context);
}

}  // namespace baton::router
