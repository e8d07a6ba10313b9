#include "common/text/incremental_detokenizer.h"

#include <algorithm>
#include <utility>

#include "common/text/utf8.h"

namespace baton::text {
namespace {

bool IsShown(const Tokenizer& tokenizer, bool skip_special, int32_t id) {
  return tokenizer.Exists(id) && !(skip_special && tokenizer.IsSpecial(id));
}

bool HasText(const Tokenizer& tokenizer, const IncrementalDetokenizer::Options& options) {
  return std::any_of(options.context.begin(), options.context.end(),
                     [&](int32_t id) { return IsShown(tokenizer, options.skip_special, id); });
}

}  // namespace

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer, const Options& options)
    : tokenizer_(tokenizer),
      skip_special_(options.skip_special),
      start_(tokenizer.text_start(), /*at_start=*/!HasText(tokenizer, options)) {}

std::string IncrementalDetokenizer::Push(int32_t id) {
  if (!IsShown(tokenizer_, skip_special_, id)) return {};
  start_.Append(tokenizer_.TokenBytes(id), pending_);
  std::string text;
  pending_.erase(0, AppendCompleteUtf8(pending_, text));
  return text;
}

std::string IncrementalDetokenizer::Finish() { return ToValidUtf8(std::exchange(pending_, {})); }

}  // namespace baton::text
