#include "common/model/digest.h"

#include <openssl/evp.h>

#include "common/base/check.h"

namespace baton::model {

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest() : state_(std::make_unique<State>()) {
  CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}

Digest::~Digest() = default;

void Digest::Add(std::span<const std::byte> bytes) {
  CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Digest::Hex() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  CHECK(EVP_DigestFinal_ex(state_->context, hash, &length) == 1 && length >= 16);
  std::string hex;
  for (int i = 0; i < 16; ++i) hex += fmt::format("{:02x}", hash[i]);
  return hex;
}

}  // namespace baton::model
