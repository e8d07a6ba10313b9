// A damaged tokenizer.json: refused, or a tokenizer that works; never a crash, a hang or gigabytes.
//
// The input is the file itself, or, beginning with '!', a list of edits of a good one: each is a
// byte that picks a value in the tree, in the order of a walk, and a byte that picks what replaces
// it.

#include <vector>

#include "common/base/check.h"
#include "common/text/fuzz_tokenizers.h"
#include "common/text/utf8.h"

namespace baton::text {
namespace {

using Json = nlohmann::json;

void CollectValues(Json& value, std::vector<Json*>& out) {
  out.push_back(&value);
  // One in a while of the vocabulary is enough; the rest would crowd out everything else.
  int children = 0;
  for (Json& child : value) {
    if (value.is_structured() && ++children <= 12) CollectValues(child, out);
  }
}

Json Replacement(uint8_t pick) {
  static const Json choices = Json::parse(R"([null, true, false, 0, 1, -1, 255, 300, 4294967295,
      1e300, "", " ", "a", "▁", "<0x41>", "<s>", "▁the", "BPE", "Unigram", "WordPiece", "WordLevel",
      "ByteLevel", "Metaspace", "Sequence", "Replace", "Strip", "Fuse", "ByteFallback", "NFC", "NFKC",
      "Prepend", "Split", "TemplateProcessing", "first", "always", "never", "(a|a)*b", [], {},
      [[]], [["a", "t"]], ["a t"], {"String": "a"}, {"Regex": "a+"}, {"Regex": "(?=a)*"},
      {"String": ""}, {"type": "Fuse"}, {"type": "Metaspace", "replacement": "▁",
      "prepend_scheme": "always"}, {"type": "Sequence", "decoders": []}, {"a": 0, "b": 0}])");
  return choices[pick % choices.size()];
}

std::string Edited(const uint8_t* data, size_t size) {
  Json json = size > 0 && data[0] % 2 == 0 ? ByteLevelJson() : ByteFallbackJson();
  for (size_t i = 1; i + 1 < size && i < 16; i += 2) {
    std::vector<Json*> values;
    CollectValues(json, values);
    *values[data[i] % values.size()] = Replacement(data[i + 1]);
  }
  return json.dump();
}

}  // namespace
}  // namespace baton::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::text;
  const bool edits = size > 0 && data[0] == '!';
  const std::string json =
      edits ? Edited(data + 1, size - 1) : std::string(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = Tokenizer::FromJson(json);
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode("the <s> tea é 🚀", /*add_special_tokens=*/true);
  if (!ids.ok()) return 0;
  CHECK(!FirstInvalidUtf8((*tokenizer)->Decode(*ids, /*skip_special=*/false)));
  return 0;
}
