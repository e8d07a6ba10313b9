// Any bytes as a prompt: refused exactly when they are not UTF-8, never a control token when
// literal, a byte-level vocabulary gives every text back, and the faster library has the ids of the
// reference.

#include <algorithm>

#include "common/base/check.h"
#include "common/text/fuzz_tokenizers.h"
#include "common/text/utf8.h"

namespace baton::text {
namespace {

void CheckEncode(const Tokenizer& tokenizer, std::string_view text, bool lossless) {
  const auto parsed = tokenizer.Encode(text, /*add_special_tokens=*/true);
  const bool valid = !FirstInvalidUtf8(text).has_value();
  CHECK(parsed.ok() == valid, "{}", std::string(parsed.status().ToString()));
  if (!valid) return;
  const auto reference = tokenizer.Encode(text, {.add_special_tokens = true, .reference = true});
  CHECK_OK(reference.status());
  CHECK(*parsed == *reference);
  const auto literal =
      tokenizer.Encode(text, {.add_special_tokens = false, .parse_special = false});
  CHECK_OK(literal.status());
  const bool forged = std::any_of(literal->begin(), literal->end(),
                                  [&](int32_t id) { return tokenizer.IsSpecial(id); });
  // <unk> is special too in many vocabularies, but byte fallback leaves nothing unknown.
  CHECK(!forged);
  if (lossless) CHECK(tokenizer.Decode(*literal, /*skip_special=*/true) == text);
}

}  // namespace
}  // namespace baton::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::text;
  static const auto* const byte_level = FuzzTokenizer(ByteLevelJson()).release();
  static const auto* const llama = FuzzTokenizer(LlamaLikeJson()).release();
  static const auto* const byte_fallback = FuzzTokenizer(ByteFallbackJson()).release();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckEncode(*byte_level, text, /*lossless=*/true);
  CheckEncode(*llama, text, /*lossless=*/true);
  CheckEncode(*byte_fallback, text, /*lossless=*/false);
  return 0;
}
