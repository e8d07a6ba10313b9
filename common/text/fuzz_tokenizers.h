#pragma once

#include <memory>
#include <string>

#include "common/base/check.h"
#include "common/text/tokenizer.h"
#include "nlohmann/json.hpp"

// Small tokenizers for fuzz targets, which have no files.
namespace baton::text {

// The visible character that stands for a byte in a byte-level vocabulary.
inline std::string ByteLevelCharacter(int byte) {
  const auto printable = [](int b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  int code_point = byte;
  if (!printable(byte)) {
    code_point = 0x100;
    for (int b = 0; b < byte; ++b) code_point += !printable(b);
  }
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

inline nlohmann::json BpeTokenizerJson() {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"post_processor", nullptr},
          {"decoder", nullptr},
          {"model",
           {{"type", "BPE"},
            {"vocab", nlohmann::json::object()},
            {"merges", nlohmann::json::array()}}}};
}

inline void AddSpecialToken(nlohmann::json& json, const std::string& content) {
  const size_t id = json["model"]["vocab"].size() + json["added_tokens"].size();
  json["added_tokens"].push_back({{"id", id},
                                  {"content", content},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", true}});
}

// Every byte, a few merges, <s> and </s>.
inline nlohmann::json ByteLevelJson() {
  nlohmann::json json = BpeTokenizerJson();
  auto& vocab = json["model"]["vocab"];
  for (int byte = 0; byte < 256; ++byte) vocab[ByteLevelCharacter(byte)] = byte;
  const auto merge = [&](const std::string& left, const std::string& right) {
    vocab[left + right] = vocab.size();
    json["model"]["merges"].push_back(left + " " + right);
  };
  merge(ByteLevelCharacter(' '), "t");
  merge("h", "e");
  merge(ByteLevelCharacter(' ') + "t", "he");
  merge(ByteLevelCharacter(0xC3), ByteLevelCharacter(0xA9));
  merge(ByteLevelCharacter(0xF0), ByteLevelCharacter(0x9F));
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", false},
                                     {"use_regex", true}};
  json["pre_tokenizer"] = byte_level;
  json["decoder"] = byte_level;
  AddSpecialToken(json, "<s>");
  AddSpecialToken(json, "</s>");
  return json;
}

// The same with Llama 3's pattern.
inline nlohmann::json LlamaLikeJson() {
  nlohmann::json json = ByteLevelJson();
  nlohmann::json bytes = json["pre_tokenizer"];
  bytes["use_regex"] = false;
  const char* const pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
      R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
  const nlohmann::json split = {{"type", "Split"},
                                {"pattern", {{"Regex", pattern}}},
                                {"behavior", "Isolated"},
                                {"invert", false}};
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, bytes}}};
  return json;
}

// Byte tokens, a few letters, "▁" for blanks, <s>.
inline nlohmann::json ByteFallbackJson() {
  nlohmann::json json = BpeTokenizerJson();
  auto& vocab = json["model"]["vocab"];
  vocab["<unk>"] = 0;
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = byte + 1;
  for (const char* piece : {"▁", "a", "t", "h", "e", "é", "▁t", "he", "▁the"}) {
    vocab[piece] = vocab.size();
  }
  json["model"]["merges"] = {"▁ t", "h e", "▁t he"};
  json["model"]["unk_token"] = "<unk>";
  json["model"]["byte_fallback"] = true;
  const nlohmann::json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  const auto replace = [](const char* from, const char* to) {
    return nlohmann::json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {prepend, replace(" ", "▁")}}};
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders",
                      {replace("▁", " "),
                       {{"type", "ByteFallback"}},
                       {{"type", "Fuse"}},
                       {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  AddSpecialToken(json, "<s>");
  return json;
}

inline std::unique_ptr<Tokenizer> FuzzTokenizer(const nlohmann::json& json) {
  auto tokenizer = Tokenizer::FromJson(json.dump());
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

}  // namespace baton::text
