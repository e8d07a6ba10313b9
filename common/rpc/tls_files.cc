#include "common/rpc/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <vector>

namespace baton::rpc {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using File = std::unique_ptr<BIO, Freed<BIO_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;
using Chain = std::vector<Certificate>;  // in the order of the file

template <typename... Args>
absl::Status Wrong(std::string_view option, const std::string& path,
                   fmt::format_string<Args...> text, Args&&... args) {
  return FailedPrecondition("{} {}: {}", option, path,
                            fmt::format(text, std::forward<Args>(args)...));
}

absl::StatusOr<File> Open(std::string_view option, const std::string& path) {
  File file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) {
    return Wrong(option, path, "cannot be read; is the secret mounted, and may this user read it?");
  }
  return file;
}

absl::StatusOr<Chain> ReadCertificates(std::string_view option, const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(option, path));
  Chain chain;
  while (X509* one = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr)) {
    chain.emplace_back(one);
  }
  ERR_clear_error();  // the end of the file is an error to OpenSSL
  if (!chain.empty()) return chain;
  return Wrong(option, path, "holds no certificate; it must be PEM, with BEGIN CERTIFICATE");
}

absl::StatusOr<Key> ReadKey(std::string_view option, const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(option, path));
  // An empty password, so that nobody is asked for one.
  Key key(PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, const_cast<char*>("")));
  ERR_clear_error();
  if (key != nullptr) return key;
  return Wrong(option, path, "holds no private key; it must be PEM and without a password");
}

std::string DateOf(const ASN1_TIME* time) {
  const std::unique_ptr<BIO, Freed<BIO_free>> text(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(text.get(), time);
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(text.get(), &data);
  return std::string(data, static_cast<size_t>(bytes));
}

absl::Status CheckSigned(const config::TlsOptions& options, const Chain& chain, const Chain& ca) {
  const Store store(X509_STORE_new());
  for (const Certificate& one : ca) X509_STORE_add_cert(store.get(), one.get());
  STACK_OF(X509)* between = sk_X509_new_null();
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(between, chain[i].get());
  const StoreContext context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), between);
  const bool good = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  sk_X509_free(between);
  ERR_clear_error();
  if (good) return absl::OkStatus();
  const X509* leaf = chain.front().get();
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) {
    return Wrong("tls_certificate", options.certificate,
                 "it or its CA has expired (it on {}); renew it", DateOf(X509_get0_notAfter(leaf)));
  }
  if (error == X509_V_ERR_CERT_NOT_YET_VALID) {
    return Wrong("tls_certificate", options.certificate, "not valid before {}; is the clock right?",
                 DateOf(X509_get0_notBefore(leaf)));
  }
  return Wrong("tls_certificate", options.certificate,
               "not signed by tls_ca {} ({}); all of a cluster have certificates of one CA",
               options.ca, X509_verify_cert_error_string(error));
}

bool Names(X509* certificate, Role role) {
  // Common names do not count: gRPC does not look at them when there are others.
  return X509_check_host(certificate, NameOf(role), 0,
                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS,
                         nullptr) == 1;
}

absl::Status CheckPair(X509& certificate, const std::string& certificate_path,
                       std::string_view key_option, const std::string& key_path) {
  ASSIGN_OR_RETURN(const Key key, ReadKey(key_option, key_path));
  const bool pair = X509_check_private_key(&certificate, key.get()) == 1;
  ERR_clear_error();
  if (pair) return absl::OkStatus();
  return Wrong(key_option, key_path, "is not the key of the certificate {}", certificate_path);
}

}  // namespace

absl::Status CheckTlsFiles(const config::TlsOptions& options, std::optional<Role> role) {
  ASSIGN_OR_RETURN(const Chain chain, ReadCertificates("tls_certificate", options.certificate));
  RETURN_IF_ERROR(CheckPair(*chain.front(), options.certificate, "tls_key", options.key));
  ASSIGN_OR_RETURN(const Chain ca, ReadCertificates("tls_ca", options.ca));
  RETURN_IF_ERROR(CheckSigned(options, chain, ca));
  if (!role || Names(chain.front().get(), *role)) return absl::OkStatus();
  return Wrong("tls_certificate", options.certificate,
               "does not say what this process is: its DNS names (subjectAltName) must have {}",
               NameOf(*role));
}

absl::Status CheckTlsPair(std::string_view certificate_option, const std::string& certificate,
                          std::string_view key_option, const std::string& key) {
  ASSIGN_OR_RETURN(const Chain chain, ReadCertificates(certificate_option, certificate));
  return CheckPair(*chain.front(), certificate, key_option, key);
}

}  // namespace baton::rpc
