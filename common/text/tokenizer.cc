#include "common/text/tokenizer.h"

#include <utility>

#include "common/base/status.h"
#include "common/text/rust_status.h"
#include "common/text/text_cuts.h"
#include "common/text/text_start_filter.h"
#include "common/text/tokenizer_config.h"
#include "common/text/utf8.h"

namespace baton::text {
namespace {

constexpr char kFile[] = "tokenizer.json";
constexpr size_t kCacheBytes = 64 << 20;

const uint8_t* BytesOf(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

TextStart StartOf(const baton_text_vocabulary& vocabulary) {
  switch (vocabulary.start) {
    case BATON_TEXT_START_STRIP_SPACES:
      return {TextStart::Rule::kStripSpaces, vocabulary.start_spaces_max};
    case BATON_TEXT_START_FIRST_TOKEN_BARE:
      return {TextStart::Rule::kFirstTokenBare, 0};
    case BATON_TEXT_START_AS_IS:
      break;
  }
  return {};
}

uint32_t FlagsOf(const Tokenizer::EncodeOptions& options) {
  return (options.add_special_tokens ? uint32_t{BATON_TEXT_ADD_SPECIAL} : 0) |
         (options.parse_special ? 0 : uint32_t{BATON_TEXT_LITERAL_SPECIAL}) |
         (options.reference ? uint32_t{BATON_TEXT_REFERENCE} : 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(std::string_view model_dir) {
  ASSIGN_OR_RETURN(const std::string json, ReadModelFile(model_dir, kFile));
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = FromJson(json);
  if (!tokenizer.ok()) {
    return Annotate(tokenizer.status(), fmt::format("{}/{}", model_dir, kFile));
  }
  ASSIGN_OR_RETURN(const TokenizerConfig config, TokenizerConfig::Load(model_dir));
  (*tokenizer)->bos_id_ = (*tokenizer)->TokenId(config.bos_token);
  (*tokenizer)->eos_id_ = (*tokenizer)->TokenId(config.eos_token);
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view json) {
  baton_text_tokenizer* handle = nullptr;
  baton_text_bytes error = {};
  const baton_text_code code =
      baton_text_tokenizer_load(BytesOf(json), json.size(), &handle, &error);
  if (code == BATON_TEXT_OK) return std::unique_ptr<Tokenizer>(new Tokenizer(Handle(handle)));
  const absl::Status status = TakeError(code, error);
  // A file on which the library panics is a damaged file.
  if (absl::IsInternal(status)) return absl::FailedPreconditionError(MessageOf(status));
  return status;
}

Tokenizer::Tokenizer(Handle handle)
    : handle_(std::move(handle)),
      vocabulary_(baton_text_tokenizer_vocabulary(handle_.get())),
      text_start_(StartOf(vocabulary_)),
      cache_(baton_text_tokenizer_may_cut(handle_.get())
                 ? std::make_unique<EncodeCache>(kCacheBytes)
                 : nullptr) {
  for (int32_t id = 0; id < vocab_size(); ++id) {
    if (IsSpecial(id)) special_ids_.push_back(id);
  }
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8,
                                                       const EncodeOptions& options) const {
  const bool nothing_added = !options.add_special_tokens && options.parse_special;
  if (cache_ == nullptr || !nothing_added || options.reference || utf8.size() < kPartBytesMin) {
    return EncodeWhole(utf8, options);
  }
  absl::StatusOr<std::vector<int32_t>> ids = EncodeInParts(utf8, options);
  // For the error's own sake: its offset is the whole text's.
  return ids.ok() ? std::move(ids) : EncodeWhole(utf8, options);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeInParts(std::string_view utf8,
                                                              const EncodeOptions& options) const {
  std::vector<int32_t> out;
  for (size_t begin = 0; begin < utf8.size();) {
    const size_t end = EndOfPart(utf8, begin);
    const std::string_view part = utf8.substr(begin, end - begin);
    const bool kept = part.size() >= kPartBytesMin;
    EncodeCache::Tokens tokens = kept ? cache_->Find(part) : nullptr;
    if (tokens == nullptr) {
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeWhole(part, options));
      tokens = std::make_shared<const std::vector<int32_t>>(std::move(ids));
      if (kept) cache_->Add(part, tokens);
    }
    out.insert(out.end(), tokens->begin(), tokens->end());
    begin = end;
  }
  return out;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeWhole(std::string_view utf8,
                                                            const EncodeOptions& options) const {
  baton_text_ids ids = {};
  baton_text_bytes error = {};
  const baton_text_code code = baton_text_tokenizer_encode(
      handle_.get(), BytesOf(utf8), utf8.size(), FlagsOf(options), &ids, &error);
  if (code != BATON_TEXT_OK) return TakeError(code, error);
  std::vector<int32_t> out(ids.data, ids.data + ids.size);
  baton_text_ids_free(ids);
  return out;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  TextStartFilter filter(text_start_, /*at_start=*/true);
  for (const int32_t id : ids) {
    if (!Exists(id) || (skip_special && IsSpecial(id))) continue;
    filter.Append(TokenBytes(id), bytes);
  }
  return ToValidUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (!InRange(id)) return {};
  const uint32_t begin = id == 0 ? 0 : vocabulary_.ends[id - 1];
  const char* bytes = reinterpret_cast<const char*>(vocabulary_.bytes);
  return {bytes + begin, vocabulary_.ends[id] - begin};
}

std::string Tokenizer::TokenText(int32_t id) const { return ToValidUtf8(TokenBytes(id)); }

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  const int64_t id = baton_text_tokenizer_id(handle_.get(), BytesOf(token), token.size());
  if (id < 0) return std::nullopt;
  return static_cast<int32_t>(id);
}

}  // namespace baton::text
