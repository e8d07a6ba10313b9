#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "baton_text.h"
#include "common/text/encode_cache.h"

namespace baton::text {

// How the text of a sequence begins. Vocabularies that write the blank before a word as part of the
// word ("▁Hello") put one too many at the start of a text; decoding takes it away again.
struct TextStart {
  enum class Rule {
    kAsIs,
    kStripSpaces,     // up to spaces_max leading spaces are dropped
    kFirstTokenBare,  // every space of the first token is dropped
  };
  Rule rule = Rule::kAsIs;
  size_t spaces_max = 0;
};

// A model's tokenizer.json: text to token ids and back, with the ids that Hugging Face's
// `tokenizers` gives. Immutable after Load: every method may be called from any thread at any time.
//
// Decoding: each token stands for some bytes; a text is those of its tokens in a row, read as
// UTF-8, with one U+FFFD for each ill-formed piece. That is what `tokenizers` does for byte-level
// vocabularies. For those with byte tokens ("<0xE5>") it is the same for every well-formed text;
// where `tokenizers` gives up a whole run of byte tokens for one bad byte, Baton keeps the good
// ones.
class Tokenizer {
 public:
  // Reads tokenizer.json and, for the special tokens, tokenizer_config.json. Truncation and padding
  // in the file are ignored. NOT_FOUND, FAILED_PRECONDITION (damaged) or UNIMPLEMENTED (a decoder
  // that Baton does not know) name the file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(std::string_view model_dir);
  // tokenizer.json's content, without a folder. Errors name no file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view json);

  struct EncodeOptions {
    // Let the tokenizer's post-processor add its tokens (usually BOS). A rendered chat template has
    // them already: false there, true for a bare prompt.
    bool add_special_tokens = true;
    // "</s>" in the text becomes the control token, as in `transformers`; chat templates need it.
    // false: it stays text, so that a user cannot forge control tokens. INVALID_ARGUMENT if this
    // tokenizer has no other spelling for it.
    bool parse_special = true;
    // By Hugging Face's library even where a faster one gives the same ids: to compare the two.
    bool reference = false;
  };
  // INVALID_ARGUMENT names the offset of the first byte that is not UTF-8. Of long texts to which
  // nothing is added, as rendered chat templates are, parts that were encoded lately are not
  // encoded again, where the tokenizer allows it; the ids are the same.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8,
                                              const EncodeOptions& options) const;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8,
                                              bool add_special_tokens) const {
    return Encode(utf8, EncodeOptions{.add_special_tokens = add_special_tokens});
  }

  // Valid UTF-8. Ids that do not exist stand for nothing.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // Raw bytes of one token, not necessarily UTF-8; empty for an id that does not exist. Valid as
  // long as the tokenizer.
  std::string_view TokenBytes(int32_t id) const;
  // The same as valid UTF-8, U+FFFD for what is not.
  std::string TokenText(int32_t id) const;

  // Largest id + 1. May be smaller than the model's vocabulary, which is often padded.
  int32_t vocab_size() const { return static_cast<int32_t>(vocabulary_.size); }
  bool Exists(int32_t id) const { return HasTrait(id, BATON_TEXT_TOKEN_EXISTS); }
  bool IsSpecial(int32_t id) const { return HasTrait(id, BATON_TEXT_TOKEN_SPECIAL); }
  const std::vector<int32_t>& special_ids() const { return special_ids_; }
  // By its text in the vocabulary ("<|im_end|>").
  std::optional<int32_t> TokenId(std::string_view token) const;
  // As tokenizer_config.json names them. What ends a generation is for generation_config.json to
  // say.
  std::optional<int32_t> bos_id() const { return bos_id_; }
  std::optional<int32_t> eos_id() const { return eos_id_; }

  const TextStart& text_start() const { return text_start_; }
  // A faster library than Hugging Face's encodes texts, with the same ids.
  bool is_fast() const { return baton_text_tokenizer_is_fast(handle_.get()); }

 private:
  struct FreeHandle {
    void operator()(baton_text_tokenizer* handle) const { baton_text_tokenizer_free(handle); }
  };
  using Handle = std::unique_ptr<baton_text_tokenizer, FreeHandle>;

  explicit Tokenizer(Handle handle);
  absl::StatusOr<std::vector<int32_t>> EncodeWhole(std::string_view utf8,
                                                   const EncodeOptions& options) const;
  absl::StatusOr<std::vector<int32_t>> EncodeInParts(std::string_view utf8,
                                                     const EncodeOptions& options) const;
  bool InRange(int32_t id) const { return id >= 0 && id < vocab_size(); }
  bool HasTrait(int32_t id, uint8_t trait) const {
    return InRange(id) && (vocabulary_.traits[id] & trait) != 0;
  }

  const Handle handle_;
  const baton_text_vocabulary vocabulary_;  // points into handle_
  const TextStart text_start_;
  const std::unique_ptr<EncodeCache> cache_;  // null: texts may not be cut
  std::vector<int32_t> special_ids_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
};

}  // namespace baton::text
