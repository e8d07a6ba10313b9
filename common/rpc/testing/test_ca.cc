#include "common/rpc/testing/test_ca.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cctype>
#include <cstdio>
#include <filesystem>

#include "common/base/check.h"

namespace baton::rpc {

struct TestCa::Pair {
  ~Pair() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  X509* certificate = nullptr;
  EVP_PKEY* key = nullptr;
};

namespace {

void Extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension != nullptr, "{}", value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::string AltNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    const bool ip = !name.empty() && std::isdigit(static_cast<unsigned char>(name.back())) != 0;
    text += (text.empty() ? "" : ",") + std::string(ip ? "IP:" : "DNS:") + name;
  }
  return text;
}

// Not signed yet.
void Make(X509*& certificate, EVP_PKEY*& key, const std::string& subject, const TestCa::Ask& ask) {
  key = EVP_EC_gen("P-256");
  certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  uint32_t serial = 0;
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), absl::ToInt64Seconds(ask.valid_from));
  X509_gmtime_adj(X509_getm_notAfter(certificate), absl::ToInt64Seconds(ask.valid_until));
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
}

template <typename Write>
void Replace(const std::string& path, Write write) {
  const std::string fresh = path + ".new";
  FILE* file = std::fopen(fresh.c_str(), "w");
  CHECK(file != nullptr, "{}", fresh);
  CHECK(write(file) == 1);
  std::fclose(file);
  CHECK(std::rename(fresh.c_str(), path.c_str()) == 0);
}

}  // namespace

TestCa::TestCa(std::string folder) : folder_(std::move(folder)), ca_(std::make_unique<Pair>()) {
  std::filesystem::create_directories(folder_);
  Make(ca_->certificate, ca_->key, "CA of " + std::filesystem::path(folder_).filename().string(),
       {.valid_until = absl::Hours(2)});
  X509_set_issuer_name(ca_->certificate, X509_get_subject_name(ca_->certificate));
  Extend(ca_->certificate, ca_->certificate, NID_basic_constraints, "critical,CA:TRUE");
  CHECK(X509_sign(ca_->certificate, ca_->key, EVP_sha256()) > 0);
  Replace(ca_file(), [&](FILE* file) { return PEM_write_X509(file, ca_->certificate); });
}

TestCa::~TestCa() = default;

config::TlsOptions TestCa::Issue(const std::string& name, const Ask& ask) const {
  Pair leaf;
  Make(leaf.certificate, leaf.key, name, ask);
  X509_set_issuer_name(leaf.certificate, X509_get_subject_name(ca_->certificate));
  if (!ask.names.empty()) {
    Extend(leaf.certificate, ca_->certificate, NID_subject_alt_name, AltNames(ask.names));
  }
  CHECK(X509_sign(leaf.certificate, ca_->key, EVP_sha256()) > 0);
  const std::string path = folder_ + "/" + name;
  Replace(path + ".crt", [&](FILE* file) { return PEM_write_X509(file, leaf.certificate); });
  Replace(path + ".key", [&](FILE* file) {
    return PEM_write_PrivateKey(file, leaf.key, nullptr, nullptr, 0, nullptr, nullptr);
  });
  return {.certificate = path + ".crt", .key = path + ".key", .ca = ca_file()};
}

}  // namespace baton::rpc
