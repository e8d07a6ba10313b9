// Any sequence of tokens, streamed through the detokenizer and the stop matcher in the order in
// which the router does it: every piece is UTF-8, and all of them are the whole text up to the
// stop.

#include <algorithm>
#include <vector>

#include "common/base/check.h"
#include "common/text/fuzz_tokenizers.h"
#include "common/text/incremental_detokenizer.h"
#include "common/text/stop_matcher.h"
#include "common/text/utf8.h"

namespace baton::text {
namespace {

struct Streamed {
  std::string text;
  bool stopped = false;
};

Streamed Stream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                const StopMatcher::Options& options) {
  IncrementalDetokenizer detokenizer(tokenizer, {});
  StopMatcher matcher(options);
  Streamed out;
  const auto push = [&](const std::string& piece) {
    CHECK(!FirstInvalidUtf8(piece));
    const StopMatcher::Result result = matcher.Push(piece);
    CHECK(!FirstInvalidUtf8(result.emit));
    out.text += result.emit;
    out.stopped = result.stopped;
  };
  for (size_t i = 0; i < ids.size() && !out.stopped; ++i) push(detokenizer.Push(ids[i]));
  if (!out.stopped) push(detokenizer.Finish());
  if (!out.stopped) out.text += matcher.Finish();
  return out;
}

void CheckStream(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                 const std::string& stop) {
  const std::string whole = tokenizer.Decode(ids, /*skip_special=*/true);
  CHECK(Stream(tokenizer, ids, {}).text == whole);
  const size_t at = stop.empty() ? std::string::npos : whole.find(stop);
  const Streamed streamed = Stream(tokenizer, ids, {.stops = {stop}});
  CHECK(streamed.stopped == (at != std::string::npos));
  CHECK(streamed.text == whole.substr(0, at));
}

}  // namespace
}  // namespace baton::text

// The first byte says how many of the next are the stop string; then two bytes are one token id.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::text;
  static const auto* const byte_level = FuzzTokenizer(ByteLevelJson()).release();
  static const auto* const byte_fallback = FuzzTokenizer(ByteFallbackJson()).release();
  if (size < 1) return 0;
  const size_t stop_bytes = std::min<size_t>(data[0] % 8, size - 1);
  const std::string stop = ToValidUtf8({reinterpret_cast<const char*>(data + 1), stop_bytes});
  std::vector<int32_t> ids;
  for (size_t i = 1 + stop_bytes; i + 1 < size; i += 2) {
    ids.push_back((data[i] | (data[i + 1] & 1) << 8) - 4);
  }
  CheckStream(*byte_level, ids, stop);
  CheckStream(*byte_fallback, ids, stop);
  return 0;
}
